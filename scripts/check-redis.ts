import { probeRedis } from "@agent-engine/core/queue/probe-redis.ts";
import { StartFailure, systemCode } from "./start-failure.ts";

const REASONS: Record<string, string> = {
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "its host could not be looked up",
};

/**
 * Only at the start, and outside production: there Redis may go and come back, here it is a mistake in the configuration.
 * @throws StartFailure when Redis does not answer within a few seconds. Its password is never shown.
 */
export async function checkRedis(redisUrl: string): Promise<void> {
  try {
    await probeRedis(redisUrl);
  } catch (error) {
    const reason = REASONS[systemCode(error) ?? ""] ?? (error instanceof Error ? error.message : String(error));
    throw new StartFailure(
      `REDIS_URL (${new URL(redisUrl).host}) does not answer: ${reason}. Check that Redis runs and the URL is right.`,
      { cause: error },
    );
  }
}
