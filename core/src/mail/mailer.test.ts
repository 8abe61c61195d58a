import { expect, test } from "vitest";
import { createLogger } from "../log.ts";
import { createMailer } from "./mailer.ts";
import { passwordResetMail, verificationMail } from "./mails.ts";

function logOf(nodeEnv: "development" | "production", send: (mailer: ReturnType<typeof createMailer>) => void): string {
  let text = "";
  const log = createLogger({ logLevel: "info", role: "all" }, { write: (line) => void (text += line) });
  send(createMailer({ mail: null, nodeEnv, log }));
  return text;
}

const RESET = "AbCdEf0123456789AbCdEf01";
const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJlbWFpbCI6ImFAYi5leGFtcGxlIn0.c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWduYXR1cmU";

test("without a mail server, a developer finds the whole link in the log", () => {
  const text = logOf("development", (mailer) => {
    mailer.send(passwordResetMail("http://localhost:3001", "ada@acme.example", RESET));
    mailer.send(verificationMail("http://localhost:3001", "ada@acme.example", JWT));
  });
  expect(text).toContain(`http://localhost:3001/reset-password#token=${RESET}`);
  expect(text).toContain(`http://localhost:3001/verify-email#token=${JWT}`);
  expect(text).toContain("mail to ada@acme.example: Choose a new password");
});

test("in production the log says that mail is not set up, and neither to whom nor what", () => {
  const text = logOf("production", (mailer) => {
    expect(mailer.canSend).toBe(false);
    mailer.send(passwordResetMail("https://console.example", "ada@acme.example", RESET));
  });
  expect(text).toContain("set SMTP_URL");
  expect(text).not.toContain(RESET);
  expect(text).not.toContain("ada@acme.example");
});
