/** The fake model as a process of its own: `node testing/src/model-server-main.ts --port 4010 --tokens 200`. */
import { parseArgs } from "node:util";
import { startModelServer } from "./model-server.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    tokens: { type: "string", default: "200" },
    "first-token-delay-ms": { type: "string", default: "0" },
    "gap-ms": { type: "string", default: "0" },
    text: { type: "string" },
    stamped: { type: "boolean", default: false },
  },
});

const server = await startModelServer({
  port: Number(values.port),
  tokens: Number(values.tokens),
  firstTokenDelayMs: Number(values["first-token-delay-ms"]),
  gapMs: Number(values["gap-ms"]),
  stamped: values.stamped,
  keepRequests: 0,
  ...(values.text === undefined ? {} : { text: values.text }),
});

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void server.stop());
console.log(`model server listening on ${server.url}`);
