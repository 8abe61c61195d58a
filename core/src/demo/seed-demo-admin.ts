import { randomBytes } from "node:crypto";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { addOwner } from "../members/add-owner.ts";
import { createAccount } from "../members/create-account.ts";

/** Who signs in to the demo's console. The password is random and, like the demo's keys, known to `dev.json` alone. */
export interface DemoAdmin {
  adminEmail: string;
  adminPassword: string;
}

const EMAIL = "admin@demo.example";
const NAME = "Demo admin";

/** Throws `conflict` when there is such an account already. */
export async function seedDemoAdmin(services: Services, tenantId: TenantId): Promise<DemoAdmin> {
  const password = randomBytes(12).toString("base64url");
  const id = await createAccount(services, { email: EMAIL, name: NAME, password });
  await addOwner(services, { tenantId, user: { id, email: EMAIL, name: NAME }, correlationId: "seed" });
  return { adminEmail: EMAIL, adminPassword: password };
}
