/**
 * One session with an MCP server: greeted, asked, ended. Streamable HTTP, or SSE where the server knows only that. The
 * SDK is loaded by the first session of a process: those who call no MCP server have no memory for it.
 */
import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";
import type { Egress } from "../../net/egress.ts";
import { McpHttpError, McpNotOpened, McpRefused, rpcCodes } from "./mcp-failure.ts";
import type { McpSettings } from "./mcp-settings.ts";
import { unlessAborted } from "./unless-aborted.ts";
import { createWire, IDEMPOTENCY_META, type Wire } from "./mcp-wire.ts";

/** Every request has a signal of its own; the SDK's timer is never the first. */
const NO_TIMEOUT_MS = 2_000_000_000;
const GOODBYE_MS = 2_000;
const CLIENT = { name: "agent-engine", version: "1" };

/** Read leniently: one odd part must not cost the rest. */
const toolPage = z.object({ tools: z.array(z.unknown()), nextCursor: z.string().optional() });
const callResult = z.object({
  content: z.array(z.unknown()).default([]),
  structuredContent: z.unknown().optional(),
  isError: z.boolean().optional(),
});

export type ToolPage = z.output<typeof toolPage>;
export type CallResult = z.output<typeof callResult>;

export interface SessionOptions {
  settings: Pick<McpSettings, "url" | "transport" | "headers">;
  /** The account's access token. */
  token: string | null;
  egress: Egress;
  /** The server says that its list of tools has changed. */
  onToolsChanged: () => void;
}

export interface McpCall {
  tool: string;
  arguments: Record<string, unknown>;
  /** Null for what only reads. */
  idempotencyKey: string | null;
  signal: AbortSignal;
  onProgress?: ((text: string) => void) | undefined;
}

export interface McpSession {
  listTools(cursor: string | undefined, signal: AbortSignal): Promise<ToolPage>;
  call(call: McpCall): Promise<CallResult>;
  /** False once something went wrong in it: it should be ended, and a new one opened. */
  isGood(): boolean;
  /** Says goodbye and lets go of every connection. Never throws. */
  close(): Promise<void>;
}

/** @throws McpNotOpened */
export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<McpSession> {
  try {
    const { transport } = options.settings;
    if (transport === "sse") return await greet(options, true, signal);
    try {
      return await greet(options, false, signal);
    } catch (error) {
      const mayBeOld = error instanceof McpHttpError && [400, 404, 405].includes(error.status);
      if (transport !== undefined || !mayBeOld) throw error;
      return await greet(options, true, signal).catch(() => Promise.reject(error));
    }
  } catch (error) {
    throw new McpNotOpened(error);
  }
}

async function greet(options: SessionOptions, isSse: boolean, signal: AbortSignal): Promise<McpSession> {
  const { settings, token } = options;
  const [{ Client }, { ToolListChangedNotificationSchema }] = await Promise.all([
    import("@modelcontextprotocol/sdk/client/index.js"),
    import("@modelcontextprotocol/sdk/types.js"),
  ]);
  const ended = new AbortController();
  const validator = {
    getValidator: () => (data: unknown) => ({ valid: true as const, data: data as never, errorMessage: undefined }),
  };
  const client = new Client(CLIENT, { jsonSchemaValidator: validator });
  const wire = createWire({
    egress: options.egress,
    headers: { ...settings.headers, ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
    origin: new URL(settings.url).origin,
    signal: ended.signal,
    isSse,
    wantsStream: () => client.getServerCapabilities()?.tools?.listChanged === true,
    // An `Error` cannot come from outside: whatever a server sends is JSON.
    fail: (id, data) =>
      transport.onmessage?.({
        jsonrpc: "2.0",
        id,
        error: { code: rpcCodes.connectionClosed, message: data.message, data },
      }),
  });
  const transport = await transportOf(settings.url, wire, isSse);
  transport.onmessage = (message: JSONRPCMessage) => wire.received(message);
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => options.onToolsChanged());
  try {
    await unlessAborted(client.connect(transport, { timeout: NO_TIMEOUT_MS }), signal);
  } catch (error) {
    ended.abort();
    await client.close().catch(() => {});
    throw wire.problem() ?? asOurs(error);
  }
  return sessionOf(client, transport, ended);
}

async function transportOf(url: string, { fetch }: Wire, isSse: boolean): Promise<Transport> {
  if (isSse) {
    const { SSEClientTransport } = await import("@modelcontextprotocol/sdk/client/sse.js");
    return new SSEClientTransport(new URL(url), { fetch });
  }
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  return new StreamableHTTPClientTransport(new URL(url), { fetch });
}

function sessionOf(client: Client, transport: Transport, ended: AbortController): McpSession {
  let isGood = true;
  client.onclose = () => {
    isGood = false;
  };

  async function ask<Schema extends z.ZodType>(
    request: { method: string; params: Record<string, unknown> },
    schema: Schema,
    signal: AbortSignal,
    onProgress?: (text: string) => void,
  ): Promise<z.output<Schema>> {
    signal.throwIfAborted();
    // The SDK keeps its listener and would cancel an answered request when the run's signal fires later.
    const asking = new AbortController();
    const abort = () => asking.abort(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      const options = {
        signal: asking.signal,
        timeout: NO_TIMEOUT_MS,
        ...(onProgress ? { onprogress: (progress: Progress) => onProgress(progressText(progress)) } : {}),
      };
      return await client.request(request, schema, options);
    } catch (error) {
      const ours = signal.aborted ? signal.reason : asOurs(error);
      if (!(ours instanceof McpRefused)) isGood = false;
      throw ours;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  return {
    listTools: (cursor, signal) =>
      ask({ method: "tools/list", params: cursor === undefined ? {} : { cursor } }, toolPage, signal),
    call: ({ tool, arguments: args, idempotencyKey, signal, onProgress }) =>
      ask(
        {
          method: "tools/call",
          params: {
            name: tool,
            arguments: args,
            ...(idempotencyKey === null ? {} : { _meta: { [IDEMPOTENCY_META]: idempotencyKey } }),
          },
        },
        callResult,
        signal,
        onProgress,
      ),
    isGood: () => isGood,
    async close() {
      isGood = false;
      if ("terminateSession" in transport) {
        const goodbye = (transport as { terminateSession: () => Promise<void> }).terminateSession();
        await unlessAborted(goodbye, AbortSignal.timeout(GOODBYE_MS)).catch(() => {});
      }
      ended.abort();
      await client.close().catch(() => {});
    },
  };
}

interface Progress {
  progress: number;
  total?: number | undefined;
  message?: string | undefined;
}

function progressText({ progress, total, message }: Progress): string {
  const share = total === undefined ? String(progress) : `${progress}/${total}`;
  return message === undefined || message === "" ? share : message;
}

/** The SDK's errors as ours: told apart by name, since its classes are not loaded everywhere. */
function asOurs(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if ("data" in error && error.data instanceof Error) return error.data;
  if (error instanceof McpHttpError) return error;
  const isRpc = "code" in error && typeof error.code === "number" && error.name === "McpError";
  return isRpc ? new McpRefused(error.code as number, error.message.replace(/^(MCP error -?\d+: )+/, "")) : error;
}
