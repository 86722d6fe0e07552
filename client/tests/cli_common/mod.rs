//! The real binary, a registry that answers what a test tells it to, and texts to compare with.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::disallowed_methods, reason = "a test of a process is no simulation")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// An answer: status, media type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// A registry of answers by `METHOD PATH`; what it does not know is a 404, as a registry says it.
pub struct Registry {
    pub address: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let answers = Arc::new(Mutex::new(BTreeMap::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (known, seen) = (answers.clone(), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (known, seen) = (known.clone(), seen.clone());
                thread::spawn(move || serve(stream.expect("a connection"), &known, &seen));
            }
        });
        let registry = Registry { address, answers, asked };
        registry.answer("GET /v2/", 200, "application/json", b"{}");
        registry
    }

    pub fn answer(&self, request: &str, status: u16, media_type: &'static str, body: &[u8]) {
        let mut answers = self.answers.lock().expect("no panic");
        answers.insert(request.to_owned(), (status, media_type, body.to_vec()));
    }

    /// The `Authorization` headers of all requests so far, each after its request.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(stream: TcpStream, known: &Mutex<BTreeMap<String, Answer>>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let request = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        let mut authorization = String::new();
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            if header.to_ascii_lowercase().starts_with("authorization:") {
                authorization = header.trim_end().to_owned();
            }
            header.clear();
        }
        seen.lock().expect("no panic").push(format!("{request} {authorization}").trim().to_owned());
        let (method, path) = request.split_once(' ').unwrap_or((&request, ""));
        let key = format!("GET {}", path.split('?').next().unwrap_or(path));
        let key = if method == "HEAD" { key } else { key.replacen("GET", method, 1) };
        let unknown = || {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown here"}]}"#;
            (404, "application/json", body.to_vec())
        };
        let answer = known.lock().expect("no panic").get(&key).cloned();
        let (status, media_type, body) = answer.unwrap_or_else(unknown);
        let challenge = if status == 401 { "www-authenticate: Basic realm=\"x\"\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\n{challenge}content-length: {}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { &[][..] } else { &body[..] };
        if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
            return;
        }
    }
}

/// A call of the binary in a folder of its own, with no login and no terminal.
pub struct Call {
    pub folder: tempfile::TempDir,
    pub registry: String,
}

impl Call {
    pub fn new(registry: &str) -> Call {
        let folder = tempfile::tempdir().expect("a folder");
        Call { folder, registry: registry.to_owned() }
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, "")
    }

    /// As [`Call::run`], with a text on standard input.
    pub fn run_with(&self, words: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(words).current_dir(self.folder.path()).env_clear();
        command.env("PATH", self.folder.path()).env("HOME", self.folder.path());
        command.env("COLUMNS", "100");
        if !self.registry.is_empty() {
            command.env("ATOLL_REGISTRY", &self.registry);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // A call that is wrong ends before it reads.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    /// What a call says, with the names of this run replaced: exit code, output, complaints.
    pub fn transcript(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let mut text = format!("$ atoll {}\n", words.join(" "));
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        let complaints = String::from_utf8_lossy(&output.stderr);
        let mut lines: Vec<&str> = complaints.lines().collect();
        // Layers are moved at once, and end in any order.
        let is_layer = |line: &str| line.starts_with("sha256:");
        for lines in lines.chunk_by_mut(|one, other| is_layer(one) && is_layer(other)) {
            lines.sort_unstable();
        }
        for line in lines {
            text.push_str(&format!("! {line}\n"));
        }
        text.push_str(&format!("exit code {}\n\n", output.status.code().expect("no signal")));
        let folder = self.folder.path().display().to_string();
        let text =
            if self.registry.is_empty() { text } else { text.replace(&self.registry, "REGISTRY") };
        text.replace(&folder, "FOLDER")
    }
}

/// Compares with the file `client/tests/cli/NAME`; with ATOLL_UPDATE=1 in the environment it is
/// written instead.
pub fn assert_same(name: &str, text: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").join(name);
    if std::env::var_os("ATOLL_UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("the file is written");
        return;
    }
    let known = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        known == text,
        "{} is out of date; if this is right, run with ATOLL_UPDATE=1:\n{text}",
        path.display()
    );
}
