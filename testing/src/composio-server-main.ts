/** The fake Composio as a process of its own: `node testing/src/composio-server-main.ts --port 4020 --key ak_test`. */
import { parseArgs } from "node:util";
import { startComposioServer } from "./composio-server.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    key: { type: "string", default: "ak_fake" },
    toolkits: { type: "string", default: "1000" },
  },
});

const server = await startComposioServer({
  port: Number(values.port),
  apiKey: values.key,
  toolkits: Number(values.toolkits),
});

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void server.stop());
console.log(`composio server listening on ${server.url}`);
