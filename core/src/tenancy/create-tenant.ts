import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { Tenant } from "../db/entities/entities.ts";
import { inTenantEntities } from "../db/entity-transaction.ts";

/** Makes a tenant. The new id is the transaction's tenant, so row level security holds from its first row. */
export async function createTenant(
  services: Pick<Services, "db" | "newId" | "clock">,
  input: { name: string },
): Promise<{ id: TenantId; name: string }> {
  const id = services.newId("tenant");
  await inTenantEntities(services.db, id, async ({ em }) => {
    em.create(Tenant, { id, name: input.name, createdAt: new Date(services.clock()) });
    await em.flush();
  });
  return { id, name: input.name };
}
