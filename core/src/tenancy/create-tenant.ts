import type { TenantId } from "@agent-engine/protocol/ids.ts";
import { audit } from "../audit/audit.ts";
import type { Services } from "../context.ts";
import { Tenant } from "../db/entities/entities.ts";
import { inTenantEntities } from "../db/entity-transaction.ts";

/** Makes a tenant. The new id is the transaction's tenant, so row level security holds from its first row. */
export async function createTenant(
  services: Pick<Services, "db" | "newId" | "clock" | "log">,
  input: { name: string },
): Promise<{ id: TenantId; name: string }> {
  const id = services.newId("tenant");
  await inTenantEntities(services.db, id, async (tx) => {
    const { em } = tx;
    em.create(Tenant, { id, name: input.name, createdAt: new Date(services.clock()) });
    await em.flush();
    const platform = { services, tenantId: id, actor: { kind: "worker" }, correlationId: "set-up" } as const;
    const { name } = input;
    await audit(platform, tx, { action: "tenant.created", target: { kind: "tenant", id }, after: { name } });
  });
  return { id, name: input.name };
}
