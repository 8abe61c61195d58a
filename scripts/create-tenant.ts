/**
 * `npm run create-tenant -- --name "Acme" --origin https://www.acme.example --admin-email ada@acme.example`: the first
 * tenant of a production database, with a published agent, a site, a secret key and an invitation for its owner. Prints
 * them as JSON; the secret key and the invitation's link are shown this once.
 */
import { parseArgs } from "node:util";
import { ConfigError, loadConfig } from "@agent-engine/core/config/env.ts";
import { inviteFirstOwner } from "@agent-engine/core/members/invite-first-owner.ts";
import { openServices } from "@agent-engine/core/services.ts";
import { setUpTenant } from "@agent-engine/core/tenancy/set-up-tenant.ts";
import { memberRequest } from "@agent-engine/protocol/schemas/administration.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import { parseOriginPattern } from "@agent-engine/core/sites/origin.ts";
import { pino } from "pino";
import { checkDatabase } from "./check-database.ts";
import { StartFailure } from "./start-failure.ts";

const USAGE = `Usage: npm run create-tenant -- --name "Acme" --origin https://www.acme.example --admin-email ada@acme.example
  --name         of the tenant, its agent and its site
  --origin       of the pages that may embed the widget; may be repeated; https://*.acme.example allows every subdomain
  --admin-email  whom to invite as the tenant's owner; the link is printed, to be passed on`;

interface Wanted {
  name: string;
  origins: string[];
  adminEmail: string | null;
}

/** @throws StartFailure saying which argument is missing or wrong */
function readArguments(): Wanted {
  const { values } = parseArgs({
    options: {
      name: { type: "string" },
      origin: { type: "string", multiple: true, default: [] },
      "admin-email": { type: "string" },
    },
  });
  const name = values.name?.trim() ?? "";
  if (name === "" || name.length > 200) throw new StartFailure(`--name must be 1 to 200 characters.\n${USAGE}`);
  if (values.origin.length === 0) throw new StartFailure(`--origin is missing.\n${USAGE}`);
  const origins = values.origin.map((given) => {
    const pattern = parseOriginPattern(given);
    if (pattern === null) throw new StartFailure(`--origin ${given} is no origin.\n${USAGE}`);
    return pattern;
  });
  const adminEmail = values["admin-email"]?.trim() ?? null;
  if (adminEmail !== null && !memberRequest.shape.email.safeParse(adminEmail).success) {
    throw new StartFailure(`--admin-email ${adminEmail} is no e-mail address.\n${USAGE}`);
  }
  return { name, origins, adminEmail };
}

async function createTenant(): Promise<void> {
  const { name, origins, adminEmail } = readArguments();
  const config = loadConfig();
  if (config.databaseUrl === null) {
    throw new StartFailure("Set DATABASE_URL: the database of `npm start` has its demo tenant already.");
  }
  await checkDatabase(config.databaseUrl);
  const services = await openServices(config, config.databaseUrl, pino({ level: "warn" }, pino.destination(2)));
  try {
    const tenant = await setUpTenant(services, {
      name,
      agent: { name, config: agentConfig.parse({}) },
      site: { name, allowedOrigins: origins },
    });
    const owner = adminEmail && (await inviteFirstOwner(services, { tenantId: tenant.tenantId, email: adminEmail }));
    const made = { ...tenant, ...(owner ? { adminInvitationUrl: owner.link } : {}) };
    process.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
  } finally {
    await services.close();
  }
}

try {
  await createTenant();
} catch (error) {
  if (error instanceof ConfigError) console.error(`The configuration has mistakes:\n  ${error.problems.join("\n  ")}`);
  else console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
