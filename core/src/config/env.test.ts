import { isAbsolute } from "node:path";
import { describe, expect, test } from "vitest";
import { ConfigError, parseConfig } from "./env.ts";

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const production = {
  NODE_ENV: "production",
  DATABASE_URL: "postgres://owner:secret@db:5432/agents",
  REDIS_URL: "redis://redis:6379",
  SECRET_KEY: "k".repeat(64),
  PUBLIC_URL: "https://chat.example.com/",
};

describe("an empty environment", () => {
  test("is a complete development configuration", () => {
    const config = parseConfig({});
    expect(config).toMatchObject({
      nodeEnv: "development",
      role: "all",
      port: 3000,
      consolePort: 3001,
      demoPort: 3002,
      demoOrigins: [],
      databaseUrl: null,
      databaseReplicaUrls: [],
      redisUrl: null,
      publicUrl: null,
      secretKeys: [],
      logLevel: "info",
      workerConcurrency: 2000,
      backgroundConcurrency: 500,
      tenantConcurrency: null,
      modelSilence: { firstPartMs: 120_000, gapMs: 30_000 },
    });
    expect(isAbsolute(config.dataDir)).toBe(true);
    expect(config.dataDir.endsWith(".data")).toBe(true);
  });

  test("counts an empty value as absent", () => {
    expect(parseConfig({ PORT: "", DATABASE_URL: " ", OPENAI_API_KEY: "" })).toEqual(parseConfig({}));
  });
});

describe("single variables", () => {
  test("port 0 asks for any free port", () => {
    expect(parseConfig({ PORT: "0", DEMO_PORT: "0" })).toMatchObject({ port: 0, demoPort: 0 });
  });

  test.each([
    [{ PORT: "http" }, "PORT must be a whole number from 0 to 65535"],
    [{ PORT: "65536" }, "PORT must be a whole number from 0 to 65535"],
    [{ PORT: "-1" }, "PORT must be a whole number from 0 to 65535"],
    [{ WORKER_CONCURRENCY: "0" }, "WORKER_CONCURRENCY must be a whole number from 1 to 10000"],
    [{ ROLE: "api" }, "ROLE must be one of all, server, worker"],
    [{ NODE_ENV: "prod" }, "NODE_ENV must be one of development, production, test"],
    [{ LOG_LEVEL: "loud" }, "LOG_LEVEL must be one of trace"],
    [{ DATABASE_URL: "mysql://db" }, "DATABASE_URL must be a URL like postgres://"],
    [{ DATABASE_REPLICA_URLS: "postgres://a/b,nonsense" }, "DATABASE_REPLICA_URLS must be a URL like postgres://"],
    [{ SMTP_URL: "mail.example.com" }, "SMTP_URL must be a URL like smtp://"],
    [{ SIGN_UP: "closed" }, "SIGN_UP must be one of invited, open"],
    [{ REDIS_URL: "localhost:6379" }, "REDIS_URL must be a URL like redis://"],
    [{ PUBLIC_URL: "chat.example.com" }, "PUBLIC_URL must be a URL that begins with http:// or https://"],
    [{ OPENAI_BASE_URL: "nowhere" }, "OPENAI_BASE_URL must be a URL that begins with http:// or https://"],
  ])("%o is refused by name", (env, expected) => {
    const problems = problemsOf(env);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  test("every bad variable is named at once", () => {
    expect(problemsOf({ PORT: "x", ROLE: "y", REDIS_URL: "z" })).toHaveLength(3);
  });

  test("a refused value that may hold a password is not echoed", () => {
    expect(problemsOf({ DATABASE_URL: "mysql://owner:hunter2@db" }).join()).not.toContain("hunter2");
  });

  test("the first of several secret keys signs", () => {
    expect(parseConfig({ SECRET_KEY: "new, old" }).secretKeys).toEqual(["new", "old"]);
  });

  test("models of the auto provider have defaults and can be set", () => {
    expect(parseConfig({}).models).toMatchObject({ openaiModel: "gpt-5-mini", anthropicModel: "claude-haiku-4-5" });
    expect(parseConfig({ OPENAI_MODEL: "llama3" }).models.openaiModel).toBe("llama3");
  });
});

describe("production", () => {
  test("says which variables are missing", () => {
    expect(problemsOf({ NODE_ENV: "production" })).toEqual(
      ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PUBLIC_URL"].map(
        (name) => `${name} is required when NODE_ENV is production.`,
      ),
    );
  });

  test("is complete with its four variables, the public URL without its trailing slash", () => {
    expect(parseConfig(production)).toMatchObject({ nodeEnv: "production", publicUrl: "https://chat.example.com" });
  });

  test("refuses a short secret key, also among several", () => {
    expect(problemsOf({ ...production, SECRET_KEY: `${production.SECRET_KEY},short` })[0]).toContain("SECRET_KEY");
  });
});

describe("rules between variables", () => {
  test("a mail server needs a sender", () => {
    expect(problemsOf({ SMTP_URL: "smtp://mail.example.com:587" })).toEqual([
      "MAIL_FROM is required when SMTP_URL is set: who mails are from.",
    ]);
    const from = "Agent Engine <no-reply@example.com>";
    expect(parseConfig({ SMTP_URL: "smtps://u:p@mail.example.com", MAIL_FROM: from }).mail).toEqual({
      smtpUrl: "smtps://u:p@mail.example.com",
      from,
    });
    expect(parseConfig({ MAIL_FROM: from }).mail).toBeNull();
  });

  test("chat keeps a place from background runs, and a single place is shared", () => {
    expect(problemsOf({ WORKER_CONCURRENCY: "4", BACKGROUND_CONCURRENCY: "4" })).toEqual([
      "BACKGROUND_CONCURRENCY must be less than WORKER_CONCURRENCY, so that chat always finds a place.",
    ]);
    const places = (WORKER_CONCURRENCY: string, BACKGROUND_CONCURRENCY?: string) =>
      parseConfig({ WORKER_CONCURRENCY, BACKGROUND_CONCURRENCY }).backgroundConcurrency;
    expect([places("1"), places("2"), places("11"), places("4", "3"), places("4", "0")]).toEqual([1, 1, 2, 3, 0]);
    expect(parseConfig({ TENANT_CONCURRENCY: "5" }).tenantConcurrency).toBe(5);
  });

  test("a split role outside production needs services the processes can share", () => {
    expect(problemsOf({ ROLE: "worker" })).toEqual([
      "DATABASE_URL is required when ROLE is worker: separate processes must share it.",
      "REDIS_URL is required when ROLE is worker: separate processes must share it.",
    ]);
  });
});
