"""What deploy/durability has already: the process under test, the connection, the writer, the checker."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "durability"))

# pylint: disable=wrong-import-position,unused-import
from checker import Checker
from node import Node, Unready
from wire import Gone, Wire, with_query
from worker import Refused as WorkerRefused
from worker import Worker
