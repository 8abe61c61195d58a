import type { Logger } from "pino";
import type { Config } from "../config/env.ts";

/** A mail of plain text, around one link. */
export interface Mail {
  to: string;
  subject: string;
  /** Paragraphs before the link. */
  text: string;
  /** Carries a token: it goes into the mail and, in development, into the log; never into a production log. */
  link: string;
  /** Paragraph after the link. */
  footer: string;
}

export interface Mailer {
  /** Sends in the background: whoever asked learns nothing of it, not even by how long it takes. Failures are logged. */
  send(mail: Mail): void;
  /** False when mails go nowhere: production without a mail server. */
  readonly canSend: boolean;
  /** Waits for what is under way. */
  close(): Promise<void>;
}

export interface MailerOptions {
  mail: Config["mail"];
  nodeEnv: Config["nodeEnv"];
  log: Logger;
  /** Before the second and the third attempt: mail servers put strangers off for a moment. */
  retryDelaysMs?: readonly number[];
}

const RETRY_DELAYS_MS = [2_000, 15_000];
/** For one attempt: connecting, greeting, and each answer. */
const TIMEOUT_MS = 10_000;

/** Mails through the configured server; without one, lines of the log in development and a complaint in production. */
export function createMailer(options: MailerOptions): Mailer {
  const { mail, nodeEnv, log } = options;
  if (mail) return smtpMailer(mail, log, options.retryDelaysMs ?? RETRY_DELAYS_MS);
  const isProduction = nodeEnv === "production";
  return {
    canSend: !isProduction,
    send({ to, subject, link }) {
      if (isProduction) log.error({ subject }, "a mail could not be sent: set SMTP_URL and MAIL_FROM");
      else log.warn({ to, subject, link }, `mail to ${to}: ${subject}: ${link}`);
    },
    close: async () => {},
  };
}

function smtpMailer({ smtpUrl, from }: NonNullable<Config["mail"]>, log: Logger, delaysMs: readonly number[]): Mailer {
  const underWay = new Set<Promise<void>>();
  const closing = new AbortController();

  async function deliver({ to, subject, text, link, footer }: Mail): Promise<void> {
    // Loaded with the first mail: most processes never send one.
    const { createTransport } = await import("nodemailer");
    const transport = createTransport({
      url: smtpUrl,
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    const message = { from, to, subject, text: `${text}\n\n${link}\n\n${footer}\n` };
    try {
      for (const delayMs of [...delaysMs, null]) {
        const failure = await transport.sendMail(message).then(
          () => null,
          (error: unknown) => error,
        );
        if (failure === null) return log.info({ subject }, "mail sent");
        if (delayMs === null || isFinal(failure) || closing.signal.aborted) throw failure;
        await pause(delayMs, closing.signal);
      }
    } finally {
      transport.close();
    }
  }

  return {
    canSend: true,
    send(mail) {
      const sending = deliver(mail).catch((error: unknown) => {
        log.error({ err: withoutAddresses(error), subject: mail.subject }, "a mail could not be sent");
      });
      underWay.add(sending);
      void sending.finally(() => underWay.delete(sending));
    },
    async close() {
      closing.abort();
      await Promise.all(underWay);
    },
  };
}

/** A 5xx answer stays what it is, however often it is asked. */
function isFinal(error: unknown): boolean {
  const code: unknown = error instanceof Error ? Reflect.get(error, "responseCode") : undefined;
  return typeof code === "number" && code >= 500;
}

/** What a mail server says may repeat the address it was given. */
function withoutAddresses(error: unknown): Error {
  const message = error instanceof Error ? error.message : String(error);
  return new Error(message.replaceAll(/\S+@\S+/g, "<address>"));
}

function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
