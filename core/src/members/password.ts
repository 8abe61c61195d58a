import { ProblemError } from "../errors.ts";

/** In UTF-16 units. */
export const PASSWORD_LENGTH = { min: 10, max: 128 };

/** Hashed as better-auth does it (scrypt, a salt each), without loading all of it. */
export async function hashOf(password: string): Promise<string> {
  if (password.length < PASSWORD_LENGTH.min || password.length > PASSWORD_LENGTH.max) {
    throw new ProblemError(
      "invalid_request",
      `\`password\` must be ${PASSWORD_LENGTH.min} to ${PASSWORD_LENGTH.max} characters long.`,
    );
  }
  const { hashPassword } = await import("@better-auth/utils/password");
  return hashPassword(password);
}
