import { createServer } from "node:net";
import { StartFailure, systemCode } from "./start-failure.ts";

function tryListening(port: number, host: string | undefined): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(systemCode(error)));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** @throws StartFailure when something else listens there. Port 0 (any free one) always passes. */
export async function checkPort(variable: string, port: number): Promise<void> {
  if (port === 0) return;
  // Another program may listen on one address only, which would let this one start and never be reached there.
  for (const host of [undefined, "127.0.0.1"]) {
    const code = await tryListening(port, host);
    if (code === "EADDRINUSE") {
      throw new StartFailure(
        `Port ${port} is taken by another program. Stop it, or choose another port: ${variable}=${port + 10} npm start (0 picks a free one).`,
      );
    }
    if (code === "EACCES")
      throw new StartFailure(`This account may not listen on port ${port}. Set ${variable} above 1023.`);
  }
}
