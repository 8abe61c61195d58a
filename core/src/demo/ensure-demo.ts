import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { ProblemError } from "../errors.ts";
import { resolveApiKey } from "../tenancy/resolve-api-key.ts";
import type { ReadyTenant } from "../tenancy/set-up-tenant.ts";
import type { DemoAdmin } from "./seed-demo-admin.ts";
import { isDatabaseEmpty, seedDemo } from "./seed-demo.ts";

/** The demo's facts as a start prints them; the secret key and the password are only known to whoever kept them. */
export type KnownDemo = Pick<ReadyTenant, "tenantId" | "agentId" | "publishableKey" | "secretKey"> & Partial<DemoAdmin>;

// Two processes may start on an empty database at once; the second waits and then finds it seeded.
const lock = statement("demo_lock", "select pg_advisory_lock(4207112003)");
const unlock = statement("demo_unlock", "select pg_advisory_unlock(4207112003)");

/** The origin of a page that comes with nothing but `npm start`. */
export const DEMO_ORIGIN = "http://localhost:3002";

/**
 * Seeds an empty database; otherwise answers what an earlier start kept, if it still fits this database. Null when
 * the database holds something else.
 */
export async function ensureDemo(services: Services, kept: KnownDemo | null): Promise<KnownDemo | null> {
  const client = await services.db.pool.connect();
  try {
    await client.query({ ...lock });
    if (await isDatabaseEmpty(services)) {
      const demo = await seedDemo(services, { demoOrigins: [DEMO_ORIGIN] });
      return { ...demo, ...(await adminOf(services, demo)) };
    }
    const key = kept && (await resolveApiKey(services, kept.secretKey));
    if (!key || key.tenantId !== kept.tenantId) return null;
    // Seeded by a version that knew no members.
    return kept.adminEmail === undefined ? { ...kept, ...(await adminOf(services, kept)) } : kept;
  } finally {
    await client.query({ ...unlock }).catch(() => {});
    client.release();
  }
}

/** The demo's admin, made now; none where somebody has the address already. */
async function adminOf(services: Services, { tenantId }: Pick<KnownDemo, "tenantId">): Promise<Partial<DemoAdmin>> {
  const { seedDemoAdmin } = await import("./seed-demo-admin.ts");
  try {
    return await seedDemoAdmin(services, tenantId);
  } catch (error) {
    if (error instanceof ProblemError && error.code === "conflict") return {};
    throw error;
  }
}
