import pg from "pg";
import { StartFailure, systemCode } from "./start-failure.ts";

const TIMEOUT_MS = 4_000;

const REASONS: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "its host could not be looked up",
  "28P01": "the password is wrong",
  "28000": "the user may not log in",
  "3D000": "there is no such database",
};

function whereOf(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  return `${url.host}${url.pathname}`;
}

/** @throws StartFailure when the database does not answer within a few seconds. Its password is never shown. */
export async function checkDatabase(databaseUrl: string): Promise<void> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: TIMEOUT_MS,
    query_timeout: TIMEOUT_MS,
  });
  client.on("error", () => undefined);
  try {
    await client.connect();
    await client.query("SELECT 1");
  } catch (error) {
    const known = REASONS[systemCode(error) ?? ""];
    const reason = known ?? (error instanceof Error ? error.message : String(error));
    throw new StartFailure(
      `DATABASE_URL (${whereOf(databaseUrl)}) does not answer: ${reason}. Check that Postgres runs and the URL is right.`,
      { cause: error },
    );
  } finally {
    // Without waiting: a server that never answered would not answer the goodbye either.
    void client.end().catch(() => undefined);
  }
}
