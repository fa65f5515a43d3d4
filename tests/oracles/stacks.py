"""Runs the operator's `check` against hosts on WCF and CXF, sends them messages of its own, and writes what it saw as a table.

Called by run.sh, which builds the hosts. Each case has the verdict that is right; what a host answered is read off the wire, and what
reached it off the host's own log.
"""

import base64
import difflib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import front

# A JVM on a busy machine takes half a minute.
START_S = 120
# Longer than a check with its retries.
CHECK_S = 120
# For one message; a stack that has not answered by then does not answer.
MESSAGE_S = 20
STOP_S = 10

DOMAIN = "ultipro.localhost"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
CONTRACTS = "http://www.ultipro.com/contracts"
LOGIN = "http://www.ultipro.com/services/loginservice"
PERSON = "http://www.ultipro.com/services/employeeperson"
TOKEN = "http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken"
CLIENT_ACCESS_KEY = "http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey"
AUTHENTICATE = f"{LOGIN}/ILoginService/Authenticate"
FIND_PEOPLE = f"{PERSON}/IEmployeePerson/FindPeople"
SOAP = "application/soap+xml; charset=utf-8"
ROWS = ("EmployeePerson", "EmployeeJob")

# As the hosts have them.
CUSTOMER_KEY, USER_KEY, PASSWORD = "ORCL1", "UKEY0RACLE01", "right-Pa55!word"
ODD_NAME = "svc-odd \u00fc\u6f22\U0001f511 a&b<c>\"d'"
ODD_PASSWORD = "]]> <![CDATA[x]]> & < > \" ' &amp; &#65; \u00e9\u20ac\u00df  two blanks %41 \\n {0} $x"
RIGHT = {"username": "svc-acme", "password": PASSWORD, "customerApiKey": CUSTOMER_KEY, "userApiKey": USER_KEY}

GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class Failed(Exception):
    """Something came out otherwise than is right."""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# --- Hosts.


class Host:
    """A process that serves. It says when it does, and ends with its standard input, which ends with this program, however that ends."""

    def __init__(self, name, command, environment, directory):
        errors = directory / f"{name}.err"
        with open(errors, "wb") as stderr:
            self.process = subprocess.Popen(
                command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        deadline = time.monotonic() + START_S
        said = b""
        while b"ready\n" not in said:
            left = deadline - time.monotonic()
            heard = left > 0 and select.select([self.process.stdout], [], [], left)[0]
            piece = os.read(self.process.stdout.fileno(), 4096) if heard else b""
            if not piece:
                self.stop()
                raise Failed(f"the {name} host did not start within {START_S} s; see {errors}")
            said += piece

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)


class Log:
    """What a host says that reached it: one line a call, with values in base64."""

    def __init__(self, path):
        self.path = path
        path.touch()

    def mark(self):
        return self.path.stat().st_size

    def since(self, mark):
        calls = []
        for line in self.path.read_bytes()[mark:].decode().splitlines():
            operation, *values = line.split(" ")
            read = {}
            for value in values:
                name, sign, text = re.fullmatch(r"(\w+)([:=])(.*)", value).groups()
                read[name] = base64.b64decode(text).decode() if sign == "=" else None
            calls.append((operation, read))
        return calls


@dataclass
class Stack:
    """A host by the ways to it: each a front, or, where the host speaks TLS itself, a port."""

    name: str
    log: Log
    # By mode, without TLS but for the mode of that name.
    ports: dict
    ways: dict


# --- What a host answered, in a few words.


def local(name):
    return name.rpartition("}")[2].rpartition(":")[2]


def child(element, name):
    return next((child for child in element if local(child.tag) == name), None)


def text_of(element, *path):
    for name in path:
        element = None if element is None else child(element, name)
    return None if element is None else element.text or ""


def envelope_of(answer):
    try:
        envelope = ElementTree.fromstring(answer.body.removeprefix(b"\xef\xbb\xbf"))
    except ElementTree.ParseError:
        return None
    return envelope if local(envelope.tag) == "Envelope" else None


def quoted(text):
    """The first sentence, without what is another at each run."""
    text = re.sub(GUID, "…", " ".join(text.split()))
    text = re.sub(r"(127\.0\.0\.1|localhost):\d+", "…", text)
    first = re.match(r".+?[.!?](?= |$)", text)
    text = first.group() if first else text
    text = text if len(text) <= 120 else text[:120].rstrip() + "…"
    return f"`{text.replace('`', chr(39))}`"


def tell(answer):
    """An answer as the table has it."""
    if answer is None:
        return f"no answer within {MESSAGE_S} s"
    envelope = envelope_of(answer)
    if envelope is None:
        kind = answer.content_type.partition(";")[0] or "no type"
        if kind.startswith("multipart/"):
            return f"{answer.status}, {kind}"
        text = re.sub(r"(?s)<(style|head)\b.*?</\1>|<[^>]*>", " ", answer.body.decode(errors="replace")).strip()
        return f"{answer.status}, {kind}, {quoted(text or answer.reason)}"
    message = next(iter(child(envelope, "Body")), None)
    if message is None:
        return f"{answer.status}, an empty body"
    name = local(message.tag)
    if name == "Fault":
        code, codes = child(message, "Code"), []
        while code is not None:
            codes.append(local(text_of(code, "Value")))
            code = child(code, "Subcode")
        codes = codes or [f"SOAP 1.1 {local(text_of(message, 'faultcode'))}"]
        return f"{answer.status} {'/'.join(codes)} {quoted(text_of(message, 'Reason', 'Text') or text_of(message, 'faultstring') or '')}"
    if name == "TokenResponse":
        said = text_of(message, "StatusMessage")
        return f"{answer.status} {text_of(message, 'Status')}" + (f" {quoted(said)}" if said else "")
    result = next((element for element in message.iter() if local(element.tag) == "OperationResult"), None)
    if result is None:
        return f"{answer.status} {name}"
    if text_of(result, "Success") == "true":
        found = text_of(result, "PagingInfo", "TotalItems")
        return f"{answer.status} Success" + (f", {found} found" if found != "0" else "")
    return f"{answer.status} HasErrors {quoted(text_of(result, 'Messages', 'OperationMessage', 'Message'))}"


# --- The operator's check.


class Verdict:
    """Read off what `check` writes for people: a line with the verdict, one with its message, and a table of the permissions."""

    def __init__(self, text):
        first, self.message, *rows = text.splitlines()
        self.state, self.reason = re.fullmatch(r"acme: (\w+) \((\w+)\)", first).groups()
        words = [row.split() for row in rows]
        self.permissions = {row[0]: row[2] for row in words if row and row[0] in ROWS}

    def __str__(self):
        return f"{self.state} ({self.reason})"


class Operator:
    def __init__(self, binary, directory, ca):
        self.binary, self.directory, self.ca = binary, directory, ca
        # What a proxy of the machine's would do to loopback is not the matter here.
        self.environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}

    def check(self, name, port, values):
        """Runs one check; gives the verdict, and all that was written."""
        connection = {
            "apiVersion": "ukgpro.dev/v1alpha1",
            "kind": "UkgProConnection",
            "metadata": {"name": "acme"},
            "spec": {
                "secretRef": {"name": "acme-ukg-pro"},
                "caRef": {"name": "oracle-ca"},
                "permissions": [{"name": row} for row in ROWS],
                "domain": f"{DOMAIN}:{port}",
                "subdomain": "service4",
            },
        }
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "acme-ukg-pro"}, "stringData": values}
        ca = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "oracle-ca"}, "data": {"ca.crt": self.ca}}
        capture = self.directory / f"{name}.capture.yaml"
        run = subprocess.run(
            [self.binary, "check", "-", "--allowed-domains", f"{DOMAIN}:*", "--capture", capture],
            # JSON is YAML.
            input="\n---\n".join(map(json.dumps, (connection, secret, ca))),
            capture_output=True,
            text=True,
            timeout=CHECK_S,
            env=self.environment,
        )
        written = run.stdout + run.stderr + (capture.read_text() if capture.exists() else "")
        (self.directory / f"{name}.verdict").write_text(run.stdout + run.stderr)
        if run.returncode not in (0, 1):
            raise Failed(f"the check was not made: {run.stderr}")
        verdict = Verdict(run.stdout)
        if (run.returncode == 0) != (verdict.state == "Active"):
            raise Failed(f"{verdict} with exit code {run.returncode}")
        return verdict, written


# --- The checks.

ACTIVE = "Active (AllPermissionsGranted)"
MISSING = "Forbidden (PermissionsMissing)"
REJECTED = "Unauthorized (CredentialsRejected)"
TROUBLE = "Unreachable (ServerError)"
UNDETERMINED = "Unknown (LoginUndetermined)"
UNREADABLE = "Unreachable (AnswerUnreadable)"
NO_HOST = "Unreachable (NotUkgPro)"
# What `check` says of a read that was answered with people.
WITH_PEOPLE = "with people, although the read asks for nobody"


@dataclass
class Case:
    """What is changed of the right values, and the verdict that is right for each stack; None where it has no such thing."""

    what: str
    wcf: str | None
    cxf: str | None
    values: dict = field(default_factory=dict)
    # That the host counts.
    logins: int = 1
    # Of the ways to the host.
    way: str = "plain"
    # That people are in the answer to a query that matches nobody.
    told_of_people: bool = False


def account(name):
    return {"username": name}


def no_message_id(body):
    return re.sub(rb"<(\w+:)?MessageID[^>]*>[^<]*</(\w+:)?MessageID>", b"", body)


CASES = [
    Case("right values", ACTIVE, ACTIVE),
    Case("values with XML markup characters and letters beyond ASCII", ACTIVE, ACTIVE, {"username": ODD_NAME, "password": ODD_PASSWORD}),
    Case("a blank before the password", *["Unknown (SecretValueMalformed)"] * 2, {"password": f" {PASSWORD}"}, logins=0),
    Case("a wrong password", REJECTED, REJECTED, {"password": "wrong-Pa55!word"}),
    Case("a wrong User API key", REJECTED, REJECTED, {"userApiKey": "UKEY0RACLE02"}),
    Case("a wrong Customer API key", *["Unauthorized (CustomerApiKeyRejected)"] * 2, {"customerApiKey": "ORCL2"}),
    Case("login refused: a FailedAuthentication fault", REJECTED, REJECTED, account("svc-login-fault")),
    Case("login refused: a Sender fault that says so in its text", REJECTED, REJECTED, account("svc-login-bare-fault")),
    Case("login refused: a FaultException FailedAuthentication, left to the dispatcher", TROUBLE, None, account("svc-login-unhandled-fault")),
    Case("login refused: a SecurityException", TROUBLE, REJECTED, account("svc-login-security-exception")),
    Case("login refused: a SecurityException, with IncludeExceptionDetailInFaults", REJECTED, None, account("svc-login-security-exception"), way="detail"),
    Case("the login throws an exception", TROUBLE, TROUBLE, account("svc-login-exception")),
    Case("the login throws an exception, with IncludeExceptionDetailInFaults", TROUBLE, None, account("svc-login-exception"), way="detail"),
    Case("permission missing: CXF's SimpleAuthorizingInterceptor", None, MISSING, account("svc-person-role")),
    Case("permission missing: ServiceAuthorizationManager, which Mono does not call", ACTIVE, None, account("svc-person-role")),
    Case("permission missing: a FailedAuthentication fault", MISSING, MISSING, account("svc-person-fault")),
    Case("permission missing: an answer with errors", MISSING, MISSING, account("svc-person-words")),
    Case("permission missing: a SecurityException", TROUBLE, MISSING, account("svc-person-security-exception")),
    Case(
        "permission missing: a SecurityException, with IncludeExceptionDetailInFaults", MISSING, None, account("svc-person-security-exception"), way="detail"
    ),
    Case("a read throws an exception", TROUBLE, TROUBLE, account("svc-person-exception")),
    Case("the reads return a person", ACTIVE, ACTIVE, account("svc-unfiltered"), told_of_people=True),
    Case("both reads refuse the token", MISSING, MISSING, account("svc-token-refused")),
    Case("the MessageID is removed on the way", ACTIVE, UNDETERMINED, way="no MessageID"),
    Case("addressing is not required", None, ACTIVE, way="optional"),
    Case("addressing is not required, and the MessageID is removed", None, UNDETERMINED, way="optional, no MessageID"),
    Case("addressing is off", None, UNDETERMINED, logins=0, way="unaddressed"),
    Case("the host speaks SOAP 1.1", UNDETERMINED, UNDETERMINED, way="soap11"),
    Case("the host speaks MTOM", UNDETERMINED, UNREADABLE, way="mtom"),
    Case("the host streams its answers", ACTIVE, None, way="streamed"),
    Case("the host validates requests against its schema", None, ACTIVE, way="validated"),
    Case("the stack itself speaks TLS", NO_HOST, ACTIVE, way="tls"),
]


def run_case(number, case, stack, expected, operator):
    """Gives the cell of the table, and what is wrong."""
    values = RIGHT | case.values
    way = stack.ways[case.way]
    fronted = isinstance(way, front.Front)
    mark = stack.log.mark()
    if fronted:
        way.exchanges.clear()
    name = f"{stack.name.split()[-1].lower()}-{number:02}"
    verdict, written = operator.check(name, way.port if fronted else way, values)
    calls = stack.log.since(mark)
    flaws = []
    if str(verdict) != expected:
        flaws.append(f"the verdict is {verdict}, not {expected}: {verdict.message}")
    logins = [read for operation, read in calls if operation == "Authenticate"]
    # A host that refuses the message before the service does counts none.
    due = case.logins if expected not in (UNDETERMINED, NO_HOST) else 0
    if len(logins) != due:
        flaws.append(f"the host counted {len(logins)} logins, not {due}")
    sent = {
        "ClientAccessKey": values["customerApiKey"],
        "Password": values["password"],
        "UserAccessKey": values["userApiKey"],
        "UserName": values["username"],
    }
    flaws += [f"the login arrived as {read}, not {sent}" for read in logins if read != sent]
    answers = [(exchange.path.rpartition("/")[2], exchange.answer) for exchange in way.exchanges] if fronted else []
    # Whatever form the answer has.
    logins = b"".join(answer.body for service, answer in answers if service == "LoginService" and answer)
    tokens = set(re.findall(GUID, logins.decode(errors="replace")))
    nobody = {"EmployeeNumber": "= (__none__)", "PageNumber": "1", "PageSize": "1"}
    for operation, read in calls:
        if operation == "Authenticate":
            continue
        token = read.pop("UltiProToken")
        # Absent, it is false in C# and null in Java.
        if read.pop("IncludeInactive") == "true":
            flaws.append(f"{operation} arrived with IncludeInactive")
        if fronted and token not in tokens:
            flaws.append(f"{operation} came with another token than the login gave")
        if read != nobody | {"ClientAccessKey": CUSTOMER_KEY}:
            flaws.append(f"{operation} arrived as {read}")
        tokens.add(token)
    reads = {operation for operation, _ in calls} - {"Authenticate"}
    if verdict.state == "Active" and reads != {"FindPeople", "FindJobs"}:
        flaws.append(f"Active after {sorted(reads)} alone")
    for secret in [*values.values(), *filter(None, tokens)]:
        if secret in written:
            flaws.append("a value or a token is in what the check wrote")
    if (WITH_PEOPLE in written) != case.told_of_people:
        flaws.append(f"it is {'not ' * case.told_of_people}told that the reads were answered with people")
    parts = []
    for service in ("LoginService", *ROWS):
        told = {tell(answer): None for path, answer in answers if path == service}
        parts += [f"{service} {', then '.join(told)}"] if told else []
    if not fronted:
        seen = sorted({operation for operation, _ in calls})
        parts.append(f"served {', '.join(seen)}" if seen else "no operation was reached")
    states = ", ".join(f"{row} {state}" for row, state in verdict.permissions.items())
    told = "; ".join(parts) or "not contacted"
    return f"{told} → **{verdict.state}** ({verdict.reason})" + (f", {states}" if verdict.state == "Forbidden" else ""), flaws


# --- Messages of our own, to see what the stacks make of them.


def envelope(headers, body):
    return (
        f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="{ADDRESSING}">'
        f"<s:Header>{headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def action(name):
    return f'<a:Action s:mustUnderstand="1">{name}</a:Action>'


def message_id():
    return f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>"


def login_values(names=("ClientAccessKey", "Password", "UserAccessKey", "UserName"), **values):
    values = {"ClientAccessKey": CUSTOMER_KEY, "Password": PASSWORD, "UserAccessKey": USER_KEY, "UserName": "svc-acme"} | values
    return "".join(f'<h:{name} xmlns:h="{LOGIN}">{values[name]}</h:{name}>' for name in names)


def login(addressing=None, values=None, body=f'<TokenRequest xmlns="{CONTRACTS}"/>', more=""):
    addressing = action(AUTHENTICATE) + message_id() if addressing is None else addressing
    return envelope(addressing + more + (login_values() if values is None else values), body)


def find(token, members):
    headers = f'<UltiProToken xmlns="{TOKEN}">{token}</UltiProToken>'
    headers += f'<ClientAccessKey xmlns="{CLIENT_ACCESS_KEY}">{CUSTOMER_KEY}</ClientAccessKey>'
    namespaces = f'xmlns:b="{CONTRACTS}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
    query = f'<FindPeople xmlns="{PERSON}"><query {namespaces}>{members}</query></FindPeople>'
    return envelope(action(FIND_PEOPLE) + message_id() + headers, query)


class Wire:
    """One stack, as messages of our own see it."""

    def __init__(self, stack, mode="plain"):
        self.stack = stack
        self.port = stack.ports[mode]
        self.answer = None
        self.calls = []

    def send(self, body, content_type=SOAP, path="LoginService", method="POST"):
        body = body.encode() if isinstance(body, str) else body
        head = f"{method} /services/{path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n"
        if method == "POST":
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        mark = self.stack.log.mark()
        try:
            self.answer = front.parse(front.ask(self.port, f"{head}\r\n".encode(), body, MESSAGE_S))
        except TimeoutError:
            self.answer = None
        self.calls = self.stack.log.since(mark)
        return tell(self.answer)

    def token(self):
        self.send(login())
        return text_of(child(envelope_of(self.answer), "Body"), "TokenResponse", "Token")

    def login(self, what, *arguments, **options):
        """A login, and what arrived of one of its values."""
        told = self.send(login(*arguments, **options))
        arrived = [read[what] for _, read in self.calls]
        return f"{told}; {what} {shown(arrived[0])}" if arrived else told

    def find(self, *members, show=("EmployeeNumber", "PageNumber", "PageSize")):
        told = self.send(find(self.token(), "".join(members)), path="EmployeePerson")
        if not self.calls:
            return told
        read = self.calls[0][1]
        arrived = ", ".join(f"{name} {shown(read[name])}" for name in show if read[name] is not None)
        return (f"{told}; " if not told.endswith("Success") else "") + (arrived or "nothing arrives")


def shown(value):
    return "null" if value is None else f"`{value}`" if value else "empty"


def member(name, value, prefix="b"):
    return f"<{prefix}:{name}>{escape(value)}</{prefix}:{name}>"


NUMBER, PAGE, SIZE = member("EmployeeNumber", "= (7)"), member("PageNumber", "2"), member("PageSize", "3")


def booleans(wire, values):
    name = "IncludeInactive"
    return "; ".join(f"`{value}`: {wire.find(member(name, value), show=(name,)).removeprefix(f'{name} ')}" for value in values)


def nil_form(wire):
    wire.send(login())
    element = re.search(rb"<(?:\w+:)?StatusMessage[^>]*>", wire.answer.body)
    attribute = re.search(rb'\w+:nil="\w+"', element.group()) if element else None
    return f"`{attribute.group().decode()}`" if attribute else "left out"


def fault_code(wire):
    wire.send(login(values=login_values(UserName="svc-login-exception")))
    code = re.search(rb"(?s)<(\w+:)?Code\b.*?</(\w+:)?Code>", wire.answer.body)
    return f"{wire.answer.status}, `{wire.answer.content_type}`, `{code.group().decode()}`"


def twice(wire):
    message = login()
    wire.send(message)
    return wire.send(message)


def beginning(wire):
    wire.send(login())
    mark = "a byte-order mark, " if wire.answer.body.startswith(b"\xef\xbb\xbf") else ""
    return f"{mark}{'an XML declaration' if b'<?xml' in wire.answer.body[:10] else 'the envelope'}; `{wire.answer.content_type}`"


UNKNOWN = '<u:Unknown xmlns:u="urn:unknown" s:mustUnderstand="1">1</u:Unknown>'
SOAP_1_1 = login().replace("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/")

MESSAGES = [
    ("EmployeeNumber, PageNumber, PageSize", lambda w: w.find(NUMBER, PAGE, SIZE)),
    ("PageSize, PageNumber, EmployeeNumber", lambda w: w.find(SIZE, PAGE, NUMBER)),
    ("PageNumber, EmployeeNumber, PageSize", lambda w: w.find(PAGE, NUMBER, SIZE)),
    (
        "PageNumber, EmployeeNumber, PageSize, to a host that validates",
        lambda w: Wire(w.stack, "validated").find(PAGE, NUMBER, SIZE) if "validated" in w.stack.ports else "–",
    ),
    ("an unknown member, then the others", lambda w: w.find(member("Aardvark", "1"), NUMBER, PAGE, SIZE)),
    ("employeenumber, then the others", lambda w: w.find(member("employeenumber", "= (7)"), PAGE, SIZE)),
    ("EmployeeNumber in no namespace, then the others", lambda w: w.find("<EmployeeNumber xmlns=''>= (7)</EmployeeNumber>", PAGE, SIZE)),
    ("EmployeeNumber twice: `= (7)`, `= (8)`", lambda w: w.find(NUMBER, member("EmployeeNumber", "= (8)"), PAGE, SIZE)),
    (
        "a header twice: `svc-one`, `svc-two`",
        lambda w: w.login("UserName", values=login_values(UserName="svc-one") + login_values(("UserName",), UserName="svc-two")),
    ),
    ("EmployeeNumber nil", lambda w: w.find('<b:EmployeeNumber i:nil="true"/>', PAGE)),
    ("EmployeeNumber empty", lambda w: w.find("<b:EmployeeNumber/>", PAGE)),
    ("a boolean", lambda w: booleans(w, ["true", "1", " true "])),
    ("a boolean that XML Schema does not allow", lambda w: booleans(w, ["True", "yes"])),
    ("a header value with blanks around it", lambda w: w.login("Password", values=login_values(Password=f"  {PASSWORD} "))),
    ("a header with a CDATA section", lambda w: w.login("Password", values=login_values(Password="<![CDATA[a<b&c]]>"))),
    ("a missing header", lambda w: w.login("Password", values=login_values(("ClientAccessKey", "UserAccessKey", "UserName")))),
    ("an empty body", lambda w: w.login("UserName", body="")),
    ("null in an answer", nil_form),
    ("the beginning of an answer", beginning),
    ("the fault code of an exception", fault_code),
    ("Action without MessageID", lambda w: w.send(login(action(AUTHENTICATE)))),
    ("a MessageID that was used before", twice),
    ("Action without mustUnderstand", lambda w: w.send(login(f"<a:Action>{AUTHENTICATE}</a:Action>{message_id()}"))),
    ("MessageID without Action", lambda w: w.send(login(message_id()))),
    ("neither Action nor MessageID", lambda w: w.send(login(""))),
    ("neither Action nor MessageID, and the action in Content-Type", lambda w: w.send(login(""), f'{SOAP}; action="{AUTHENTICATE}"')),
    ("another action in Content-Type", lambda w: w.send(login(), f'{SOAP}; action="{FIND_PEOPLE}"')),
    ("the Action of another service", lambda w: w.send(login(action(FIND_PEOPLE) + message_id()))),
    (
        "To with another address, and ReplyTo",
        lambda w: w.send(
            login(
                more="<a:To>https://service4.ultipro.com/services/LoginService</a:To>"
                f"<a:ReplyTo><a:Address>{ADDRESSING}/anonymous</a:Address></a:ReplyTo>"
            )
        ),
    ),
    ("an unknown header with mustUnderstand", lambda w: w.send(login(more=UNKNOWN))),
    ("no charset", lambda w: w.send(login(), "application/soap+xml")),
    ("UTF-16", lambda w: w.send(login().encode("utf-16"), "application/soap+xml; charset=utf-16")),
    ("text/xml", lambda w: w.send(login(), "text/xml; charset=utf-8")),
    ("SOAP 1.1 as text/xml", lambda w: w.send(SOAP_1_1, "text/xml; charset=utf-8")),
    ("an unknown token", lambda w: w.send(find(uuid.UUID(int=1), NUMBER + PAGE + SIZE), path="EmployeePerson")),
    ("the path in lower case", lambda w: w.send(login(), path="loginservice")),
    ("a path with //", lambda w: w.send(login(), path="/LoginService")),
    ("another service's path", lambda w: w.send(login(), path="EmployeeContacts")),
    ("GET", lambda w: w.send("", method="GET")),
    ("GET ?wsdl", lambda w: w.send("", path="LoginService?wsdl", method="GET")),
]


# --- The table.


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join(lines + [f"| {' | '.join(part.replace('|', chr(92) + '|') for part in row)} |" for row in rows])


def document(versions, checks, messages):
    head = ("", "Mono WCF", "Apache CXF")
    return f"""\
# Tests against WCF and CXF

UKG Pro's web services are built with WCF, and the authors have no tenant. So `make oracles` runs `ukgpro-operator check` against hosts
(`tests/oracles`) of LoginService, EmployeePerson and EmployeeJob on two SOAP stacks of other makers. It writes this page from the results,
and fails if the committed page differs. This repository decides what a host answers. The stack decides how the answer goes over the wire.

{versions}

Mono has Microsoft's own DataContractSerializer. The dispatcher and HTTP channel are Mono's own, and differ from Microsoft's in two ways.
A FaultException becomes InternalServiceFault, unless an IErrorHandler sends it. And the fault code is outermost, without a Sender or
Receiver around it.

## A check

Each cell shows what the host answered → the operator's verdict. In every case the host counted one login, or none if it refused the
message or was not contacted. All values, and the query that matches nobody, arrived unchanged. "–" marks a case that the stack does not
have.

{table(head, checks)}

## A message

Each message was sent as it is, to see what the stack does with it. The cells show what the stack answered, and what arrived at the service.

{table(head, messages)}
"""


# --- All of it.


def start(binary, directory):
    """The two hosts, and the operator that is to check them."""
    modes = ("plain", "detail", "mtom", "soap11", "streamed"), ("plain", "optional", "unaddressed", "mtom", "soap11", "validated")
    # The last is of TLS.
    ports = [{mode: free_port() for mode in [*modes, "tls"]} for modes in modes]

    def services(ports):
        for mode, port in ports.items():
            yield from ("plain", f"https://127.0.0.1:{port}/services/") if mode == "tls" else (mode, f"http://127.0.0.1:{port}/services/")

    mono = Path(os.environ["ORACLE_MONO"])
    # Where Mono's HttpListener looks for the certificate of a port.
    listener = directory / ".mono" / "httplistener"
    listener.mkdir(parents=True)
    for suffix in ("cer", "pvk"):
        shutil.copy(directory / f"host.{suffix}", listener / f"{ports[0]['tls']}.{suffix}")
    environment = {
        "MONO_GAC_PREFIX": mono / "usr",
        "MONO_CFG_DIR": mono / "etc",
        "LD_LIBRARY_PATH": mono / "usr/lib",
        "XDG_CONFIG_HOME": directory,
    }
    wcf = [mono / "usr/bin/mono-sgen", Path(os.environ["ORACLE_WCF"]) / "host.exe", directory / "wcf.log", *services(ports[0])]
    built = os.environ["ORACLE_CXF"]
    classes = f"{built}/classes:{built}/lib/*"
    cxf = ["java", "-Xmx256m", "-cp", classes, "oracle.Host", directory / "cxf.log", *services(ports[1])]
    hosts = []
    try:
        hosts.append(Host("wcf", wcf, environment, directory))
        hosts.append(Host("cxf", cxf, {"ORACLE_KEYSTORE": str(directory / "host.p12")}, directory))
    except BaseException:
        for host in hosts:
            host.stop()
        raise

    stacks, certificate, key = [], directory / "host.crt", directory / "host.key"
    for name, log, ports in zip(("Mono WCF", "CXF"), ("wcf.log", "cxf.log"), ports):
        ways = {mode: front.Front(port, certificate, key) for mode, port in ports.items() if mode != "tls"}
        ways["no MessageID"] = front.Front(ports["plain"], certificate, key, no_message_id)
        if "optional" in ports:
            ways["optional, no MessageID"] = front.Front(ports["optional"], certificate, key, no_message_id)
        stacks.append(Stack(name, Log(directory / log), ports, ways | {"tls": ports["tls"]}))
    return hosts, stacks, Operator(binary, directory, (directory / "ca.crt").read_text())


def main():
    binary, directory, kept = sys.argv[1], *map(Path, sys.argv[2:4])
    # So that the hosts are stopped then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    hosts, stacks, operator = start(binary, directory)
    flaws, checks, messages = [], [], []
    try:
        for number, case in enumerate(CASES, 1):
            row = [case.what]
            for stack, expected in zip(stacks, (case.wcf, case.cxf)):
                if expected is None:
                    row.append("–")
                    continue
                try:
                    cell, wrong = run_case(number, case, stack, expected, operator)
                except (Failed, subprocess.TimeoutExpired) as error:
                    cell, wrong = "failed", [str(error)]
                row.append(cell)
                flaws += [f"{stack.name}: {case.what}: {flaw}" for flaw in wrong]
            checks.append(row)
        for what, ask in MESSAGES:
            messages.append([what] + [ask(Wire(stack)) for stack in stacks])
    finally:
        for host in hosts:
            host.stop()
    seen = document(os.environ["ORACLE_VERSIONS"], checks, messages)
    (directory.parent / "stacks.md").write_text(seen)
    for flaw in flaws:
        print(f"oracles: {flaw}", file=sys.stderr)
    if not flaws and os.environ.get("WRITE_STACKS") == "1":
        kept.write_text(seen)
    was = kept.read_text() if kept.exists() else ""
    if seen != was:
        diff = difflib.unified_diff(was.splitlines(True), seen.splitlines(True), "docs/stacks.md", "what was seen")
        sys.stderr.writelines(diff)
        print("oracles: what was seen is not what docs/stacks.md says; WRITE_STACKS=1 writes it", file=sys.stderr)
    if flaws or seen != was:
        sys.exit(1)
    count = sum(expected is not None for case in CASES for expected in (case.wcf, case.cxf))
    print(f"oracles: {count} checks and {len(messages)} messages to each stack came out as docs/stacks.md says", file=sys.stderr)


if __name__ == "__main__":
    main()
