import { AgentEngineError, problemOf } from "./problem.ts";

const TIMEOUT_MS = 20_000;

/** How requests prove who sends them. `renew` replaces a credential that was refused, and rejects when it cannot. */
export interface Credentials {
  token(): Promise<string>;
  renew(refused: string): Promise<string>;
}

export interface HttpOptions {
  /** The API's origin, without a slash at the end. */
  baseUrl: string;
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
}

export interface RequestOptions {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  headers?: Record<string, string>;
  /** Brings its own end; without one a request ends after 20 s. */
  signal?: AbortSignal;
}

/**
 * One request and what `read` makes of its answer. Rejects with AgentEngineError: the server's problem, or `network`
 * when no whole answer came.
 */
export async function request<T>(
  { baseUrl, fetch: send = fetch }: HttpOptions,
  path: string,
  { method, body, headers, signal = AbortSignal.timeout(TIMEOUT_MS) }: RequestOptions = {},
  read: (response: Response) => T | Promise<T> = (response) => response.json() as Promise<T>,
): Promise<T> {
  try {
    const response = await send(baseUrl + path, {
      method: method ?? (body ? "POST" : "GET"),
      headers: { ...(body ? { "content-type": "application/json" } : null), ...headers },
      body: JSON.stringify(body),
      signal,
    });
    if (response.ok) return await read(response);
    throw await problemOf(response);
  } catch (error) {
    throw error instanceof AgentEngineError ? error : new AgentEngineError("network", String(error));
  }
}

/** `request` as the holder of `credentials`: a 401 renews them once and repeats. */
export async function requestAs<T>(
  http: HttpOptions & { credentials: Credentials },
  path: string,
  options?: RequestOptions,
  read?: (response: Response) => T | Promise<T>,
): Promise<T> {
  const attempt = (token: string) =>
    request(http, path, { ...options, headers: { ...options?.headers, authorization: `Bearer ${token}` } }, read);
  const token = await http.credentials.token();
  try {
    return await attempt(token);
  } catch (error) {
    if (!(error instanceof AgentEngineError) || error.status !== 401) throw error;
    return attempt(await http.credentials.renew(token));
  }
}
