"""The runner must find fault where there is fault: `python3 -m unittest` in this folder."""

import http.server
import tempfile
import threading
import unittest
from pathlib import Path

from badinputs import cases, oracle
from badinputs.steps import Failed, Steps
from badinputs.text import Texts, UnknownName
from badinputs.wire import Answer

GOOD_ERROR = b'{"errors":[{"code":"NAME_INVALID","message":"no","detail":null}]}'
JSON = [("content-type", "application/json")]


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers every request with what the test put on the server."""

    def do_GET(self):
        status, headers, body = self.server.reply
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class StepsTest(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
        self.server.address = self.server.server_address
        self.server.secrets = lambda: ["/secret/data"]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.steps = Steps(self.server, Texts({"repo": "a/b"}, {}))

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def expect(self, reply, good, **step):
        self.server.reply = reply
        if good:
            self.steps.run({"request": "GET /v2/${repo}", **step})
        else:
            with self.assertRaises(Failed):
                self.steps.run({"request": "GET /v2/${repo}", **step})

    def test_status_and_code(self):
        reply = (400, JSON, GOOD_ERROR)
        self.expect(reply, True, status=400, code="NAME_INVALID")
        self.expect(reply, True, status=[404, 400], code=["X", "NAME_INVALID"])
        self.expect(reply, False, status=404)
        self.expect(reply, False, status=400, code="NAME_UNKNOWN")
        self.expect(reply, False)
        self.expect((400, [], b""), False, status=400, code="NAME_INVALID")

    def test_the_oracle_holds_for_every_error(self):
        self.expect((404, JSON, b"not found"), False, status=404)
        self.expect((404, [("Content-Type", "text/plain")], GOOD_ERROR), False, status=404)
        self.expect((404, JSON, GOOD_ERROR.replace(b"NAME_INVALID", b"OOPS")), False, status=404)
        self.expect((404, JSON, GOOD_ERROR.replace(b'"no"', b'" "')), False, status=404)
        self.expect((404, JSON, GOOD_ERROR.replace(b"no", b"/secret/data/x")), False, status=404)
        self.expect((404, JSON, b'{"errors":[]}'), False, status=404)

    def test_headers_and_bodies(self):
        reply = (200, [("X-A", "1")], b'{"tags":["a"]}')
        self.expect(reply, True, header={"X-A": "1", "X-B": "absent"}, json={"tags": ["a"]})
        self.expect(reply, True, header={"X-A": "~[0-9]"}, body_has="tags", body_lacks="b")
        self.expect(reply, False, header={"X-A": "2"})
        self.expect(reply, False, header={"X-A": "absent"})
        self.expect(reply, False, header={"X-B": "present"})
        self.expect(reply, False, json={"tags": ["b"]})
        self.expect(reply, False, body_is="x")
        self.expect(reply, False, body_has="x")
        self.expect(reply, False, body_lacks="tags")

    def test_the_same_answer_twice(self):
        self.expect((404, JSON, GOOD_ERROR), True, status=404, save_answer="first")
        self.expect((404, JSON, GOOD_ERROR), True, status=404, same_as="first")
        other = GOOD_ERROR.replace(b"NAME_INVALID", b"DENIED")
        self.expect((404, JSON, other), False, status=404, same_as="first")

    def test_a_server_that_is_gone(self):
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaises(Failed):
            self.steps.run({"request": "GET /"})
        self.setUp()


class TextsTest(unittest.TestCase):
    def test_functions(self):
        texts = Texts({"a": "hello"}, {"b": "<${a}>", "big": '{"x":"${pad:20}"}'})
        self.assertEqual(texts.render("${b}${repeat:xy:2}"), b"<hello>xyxy")
        self.assertEqual(len(texts.get("big")), 20)
        self.assertTrue(texts.render("${digest:a}").startswith(b"sha256:2cf24dba"))
        self.assertEqual(texts.render("${series:<colon>:,:3}"), b":0,:1,:2,")
        with self.assertRaises(UnknownName):
            texts.render("${nothing}")


class CasesTest(unittest.TestCase):
    def load(self, text):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "x-test.toml").write_text(text)
            return cases.load(folder, {"known": {}})

    def test_a_case_is_spread_over_its_members(self):
        family = '[[family]]\nid=1\ntitle="t"\n'
        (found,) = self.load(family + '[[case]]\nid="1a"\nmembers=["x","y"]\nrequest="GET /"\n')
        self.assertEqual([case.member for case in found.cases], ["x", "y"])
        for wrong in ('requst="GET /"', 'request="GET /"\nprofile="unknown"', 'what="x"'):
            with self.assertRaises(cases.BadCaseFile):
                self.load(family + '[[case]]\nid="1a"\n' + wrong)
        with self.assertRaises(cases.BadCaseFile):
            self.load('[[case]]\nid="2a"\nrequest="GET /"\n')

    def test_the_real_files_hold_every_family(self):
        found = cases.load(Path(__file__).parent / "cases", _AnyProfile())
        numbers = {int(family.id) for family in found}
        self.assertEqual(numbers, {*range(1, 62), *range(70, 78)})
        self.assertTrue(all(family.cases or family.needs for family in found))


class _AnyProfile:
    def __contains__(self, _):
        return True


class FilesTest(unittest.TestCase):
    def test_strangers_are_seen(self):
        with tempfile.TemporaryDirectory() as home:
            data = Path(home, "data")
            (data / "node1/data/blobs/sha256/ab").mkdir(parents=True)
            files = oracle.Files(home, str(data))
            self.assertIsNone(files.complaint())
            (data / "node1/data/blobs/passwd").touch()
            self.assertIn("layout", files.complaint())
            (data / "node1/data/blobs/passwd").unlink()
            Path(home, "escaped").touch()
            self.assertIn("outside", files.complaint())

    def test_an_answer_without_error_needs_no_body(self):
        self.assertIsNone(oracle.error_complaint(Answer(200), []))
        self.assertIsNone(oracle.error_complaint(Answer(404), []))


if __name__ == "__main__":
    unittest.main()
