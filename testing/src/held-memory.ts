/** What a process of Node holds on to, as told by the process itself over the inspector. */
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { waitFor } from "./wait-for.ts";

const ANSWER_MS = 30_000;

export interface InspectorPlace {
  port: number;
  /** The environment of a process that is to be asked. */
  env: { NODE_OPTIONS: string };
}

export async function inspectorPlace(): Promise<InspectorPlace> {
  const port = await freePort();
  return { port, env: { NODE_OPTIONS: `--inspect=127.0.0.1:${port}` } };
}

export interface HeldMemory {
  /**
   * Bytes of the heap and of buffers that are left after everything unused was collected: unlike what the system counts,
   * it does not depend on when V8 last found the time.
   */
  held(): Promise<number>;
  close(): void;
}

interface Answer {
  id?: number;
  result?: unknown;
  error?: unknown;
}

const HELD = "(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())";

/** Rejects when nobody answers at that port. */
export async function openHeldMemory({ port }: InspectorPlace): Promise<HeldMemory> {
  const response = await fetch(`http://127.0.0.1:${port}/json/list`);
  const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target?.webSocketDebuggerUrl ?? "");
  await new Promise((opened, failed) => {
    socket.onopen = opened;
    socket.onerror = () => failed(new Error(`the inspector at port ${port} hung up`));
  });
  const answers = new Map<number, Answer>();
  socket.onmessage = ({ data }) => {
    const answer = JSON.parse(String(data)) as Answer;
    if (answer.id !== undefined) answers.set(answer.id, answer);
  };
  let asked = 0;
  async function ask(method: string, params: object = {}): Promise<unknown> {
    const id = ++asked;
    socket.send(JSON.stringify({ id, method, params }));
    const options = { describe: `the inspector to answer ${method}`, timeoutMs: ANSWER_MS };
    const { result, error } = await waitFor(() => answers.get(id), options);
    answers.delete(id);
    if (error !== undefined) throw new Error(`${method} failed: ${JSON.stringify(error)}`);
    return result;
  }
  return {
    async held() {
      await ask("HeapProfiler.collectGarbage");
      const { result } = (await ask("Runtime.evaluate", { expression: HELD })) as { result: { value: number } };
      return result.value;
    },
    close: () => socket.close(),
  };
}
