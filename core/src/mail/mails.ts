/** The mails there are. Tokens stand in a link's fragment where a page reads them: fragments reach no server's log. */
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

export function verificationMail(to: string, link: string): Mail {
  return {
    to,
    subject: "Confirm your e-mail address",
    text: "Confirm within an hour that this is your address:",
    link,
    footer: IGNORE,
  };
}

export function changeAddressMail(to: string, newAddress: string, link: string): Mail {
  return {
    to,
    subject: "Confirm your new e-mail address",
    text: `Somebody asked to use ${newAddress} for your account from now on. Confirm it within an hour:`,
    link,
    footer: IGNORE,
  };
}
