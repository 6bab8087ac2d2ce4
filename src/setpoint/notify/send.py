"""Sending one message over HTTP or SMTP: one try, one outcome, never an exception."""

import http.client
import ipaddress
import smtplib
import socket
import ssl
from email.message import EmailMessage
from urllib.parse import urlsplit

from setpoint.errors import Unavailable
from setpoint.notify.entities import Channel, Message, Outcome
from setpoint.notify.rules import passing

#: Seconds for connecting, and for each answer.
TIMEOUT = 10.0
_ANSWER = 2_000  #: bytes kept of what comes back


def send(channel: Channel, secret: str, message: Message) -> Outcome:
    """Send a message to a channel.

    Args:
        channel: Where to.
        secret: Of the channel; logs in to a mail server.
        message: What; headers and signature are in it.
    """
    try:
        if channel.kind == "email":
            return _mail(channel, secret, message)
        return _post(channel.url, message)
    except (OSError, http.client.HTTPException, Unavailable) as error:
        return Outcome(error=_words(error), again=True)
    except ValueError as error:  # an address or header that cannot be sent at all
        return Outcome(error=_words(error))


def _post(url: str, message: Message) -> Outcome:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "host": _host(host, port, 443 if secure else 80),
        "content-type": "application/json",
        "user-agent": "Setpoint",
        **message.headers,
    }
    with socket.create_connection((host, port), timeout=TIMEOUT) as plain:
        refuse_inside(plain)
        with _secured(plain, host) if secure else plain as line:
            connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
            connection.sock = line
            connection.request("POST", target, body=message.body.encode(), headers=headers)
            answer = connection.getresponse()
            text = answer.read(_ANSWER).decode("utf-8", "replace")
            after = answer.headers.get("retry-after", "")
            answer.close()
    good = 200 <= answer.status < 300
    return Outcome(
        status=answer.status,
        error="" if good else f"it answered {answer.status} {answer.reason}".rstrip(),
        answer=text,
        again=passing(answer.status),
        after=float(after) if after.isdecimal() else None,
    )


def _secured(line: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(line, server_hostname=host)


def _host(host: str, port: int, usual: int) -> str:
    named = f"[{host}]" if ":" in host else host
    return named if port == usual else f"{named}:{port}"


def _mail(channel: Channel, secret: str, message: Message) -> Outcome:
    if channel.mail is None:
        return Outcome(error="nobody to write to")
    letter = EmailMessage()
    letter["Subject"] = message.subject
    letter["From"] = channel.mail.sender
    letter["To"] = ", ".join(channel.mail.to)
    letter["Message-ID"] = f"<{message.id}@setpoint>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content(message.body)
    try:
        refused = _posted(channel.url, channel.mail.user, secret, letter)
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        again = 400 <= error.smtp_code < 500
        return Outcome(status=error.smtp_code, error=words or "refused", again=again)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        return Outcome(
            status=max(codes),
            error=f"refused for {', '.join(sorted(error.recipients))}",
            again=all(400 <= code < 500 for code in codes),
        )
    return Outcome(status=250, answer=f"not for {', '.join(sorted(refused))}" if refused else "")


def _posted(url: str, user: str, secret: str, letter: EmailMessage) -> list[str]:
    """Hand a letter to a mail server; return for whom it was refused."""
    parts = urlsplit(url)
    secure = parts.scheme == "smtps"
    context = ssl.create_default_context()
    host, port = parts.hostname or "", parts.port or (465 if secure else 25)
    with (
        smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
        if secure
        else smtplib.SMTP(host, port, timeout=TIMEOUT)
    ) as server:
        assert server.sock is not None  # noqa: S101 - connected by its constructor
        refuse_inside(server.sock)
        server.ehlo_or_helo_if_needed()
        if not secure and server.has_extn("starttls"):
            server.starttls(context=context)
            secure = True
        if user:
            if not secure and not _at_home(server.sock):
                msg = "the mail server offers no encryption: the login would be readable"
                raise ValueError(msg)
            server.login(user, secret)
        return list(server.send_message(letter))


def _at_home(line: socket.socket) -> bool:
    return ipaddress.ip_address(line.getpeername()[0].partition("%")[0]).is_loopback


def refuse_inside(line: socket.socket) -> None:
    """Refuse a connection to addresses that only this machine's own services should reach.

    Link-local addresses are where clouds hand out credentials. Looked at on the connected
    socket, so that no name can resolve to one after it was checked. Loopback and private
    networks are allowed: receivers are usually there.

    Raises:
        ValueError: If the other end is link-local, multicast or unspecified.
    """
    address = ipaddress.ip_address(line.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        msg = f"{address} is no address to send to"
        raise ValueError(msg)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    return " ".join(str(error).split())[:300] or type(error).__name__
