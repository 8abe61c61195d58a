/** A mail server on a real wire: takes what it is sent and shows it, or refuses as it is told to. */
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

export interface ReceivedMail {
  from: string;
  to: string;
  subject: string;
  /** Decoded. */
  text: string;
}

export interface MailServer {
  /** For `SMTP_URL`. */
  url: string;
  received: ReceivedMail[];
  /** Answers the next `RCPT TO` with this, once each: `450 try again`. */
  refuseNext(...answers: string[]): void;
  /** How many mails were begun, refused ones too. */
  attempts(): number;
  stop(): Promise<void>;
}

export async function startMailServer(): Promise<MailServer> {
  const received: ReceivedMail[] = [];
  const refusals: string[] = [];
  const sockets = new Set<Socket>();
  let attempts = 0;

  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    const say = (line: string) => void socket.write(`${line}\r\n`);
    let buffered = "";
    let isData = false;
    let from = "";
    let to = "";

    function command(line: string): void {
      const verb = line.slice(0, 4).toUpperCase();
      const [, address = ""] = /<([^>]*)>/.exec(line) ?? [];
      if (verb === "MAIL") {
        attempts += 1;
        from = address;
        say("250 ok");
      } else if (verb === "RCPT") {
        const refusal = refusals.shift();
        to = address;
        say(refusal ?? "250 ok");
      } else if (verb === "DATA") {
        isData = true;
        say("354 go on");
      } else if (verb === "QUIT") {
        say("221 bye");
        socket.end();
      } else say(verb === "EHLO" || verb === "HELO" || verb === "RSET" ? "250 ok" : "502 unknown");
    }

    socket.on("data", (chunk) => {
      buffered += chunk.toString("latin1");
      for (;;) {
        const end = isData ? buffered.indexOf("\r\n.\r\n") : buffered.indexOf("\r\n");
        if (end < 0) return;
        const part = buffered.slice(0, end);
        buffered = buffered.slice(end + (isData ? 5 : 2));
        if (!isData) {
          command(part);
          continue;
        }
        isData = false;
        received.push({ from, to, ...parseMail(part) });
        say("250 taken");
      }
    });
    say("220 mail.test");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    refuseNext: (...answers) => void refusals.push(...answers),
    attempts: () => attempts,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function parseMail(raw: string): { subject: string; text: string } {
  const [head = "", ...rest] = raw.split("\r\n\r\n");
  const unfolded = head.replaceAll(/\r\n[ \t]+/g, " ");
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, "im").exec(unfolded)?.[1] ?? "";
  const body = rest.join("\r\n\r\n").replaceAll(/^\.\./gm, ".");
  const encoding = header("content-transfer-encoding").toLowerCase();
  return { subject: header("subject"), text: decode(body, encoding).toString("utf8").replaceAll("\r\n", "\n") };
}

function decode(body: string, encoding: string): Buffer {
  if (encoding === "base64") return Buffer.from(body, "base64");
  if (encoding !== "quoted-printable") return Buffer.from(body, "latin1");
  const bytes = body
    .replaceAll("=\r\n", "")
    .replaceAll(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1");
}
