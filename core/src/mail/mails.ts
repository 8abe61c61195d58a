/**
 * The mails there are. Links lead to pages of the console, with the token in the fragment: fragments reach no server, so
 * no proxy's log. `docs/members.md` says what each page does with it.
 */
import type { Role } from "@agent-engine/protocol/administration.ts";
import type { Mail } from "./mailer.ts";

const IGNORE = "If you did not ask for this, ignore this mail: nothing changes.";

export function invitationLink(consoleUrl: string, token: string): string {
  return `${consoleUrl}/invitation#token=${encodeURIComponent(token)}`;
}

export function invitationMail(invitation: {
  to: string;
  tenantName: string;
  role: Role;
  link: string;
  validDays: number;
}): Mail {
  const { to, tenantName, role, link, validDays } = invitation;
  return {
    to,
    subject: `You are invited to ${tenantName}`,
    text: `You are invited to join ${tenantName} on Agent Engine as ${/^[aeio]/.test(role) ? "an" : "a"} ${role}. Accept within ${validDays} days:`,
    link,
    footer: "If you did not expect this, ignore this mail.",
  };
}

export function passwordResetMail(consoleUrl: string, to: string, token: string): Mail {
  return {
    to,
    subject: "Choose a new password",
    text: "Somebody asked for a new password for your account. Choose one within an hour:",
    link: `${consoleUrl}/reset-password#token=${encodeURIComponent(token)}`,
    footer: IGNORE,
  };
}

function verificationLink(consoleUrl: string, token: string): string {
  return `${consoleUrl}/verify-email#token=${encodeURIComponent(token)}`;
}

export function verificationMail(consoleUrl: string, to: string, token: string): Mail {
  return {
    to,
    subject: "Confirm your e-mail address",
    text: "Confirm within an hour that this is your address:",
    link: verificationLink(consoleUrl, token),
    footer: IGNORE,
  };
}

export function changeAddressMail(consoleUrl: string, to: string, newAddress: string, token: string): Mail {
  return {
    to,
    subject: "Confirm your new e-mail address",
    text: `Somebody asked to use ${newAddress} for your account from now on. Confirm it within an hour:`,
    link: verificationLink(consoleUrl, token),
    footer: IGNORE,
  };
}
