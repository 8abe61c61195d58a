/** Why the widget does not work on this page, in sentences that say what to do. Loaded only when asked. */
import type { DoctorReport, WidgetHost } from "../widget-api.ts";
import type { Session } from "./session.ts";

export async function examine(host: WidgetHost, session: Session): Promise<DoctorReport> {
  const { apiUrl } = host;
  const siteKey = host.siteKey ?? "";
  const checks: DoctorReport["checks"] = [];
  const check = (name: string, ok: boolean, fine: string, wrong: string) =>
    checks.push({ name, ok, detail: ok ? fine : wrong });

  check(
    "key",
    /^pk_\w+$/.test(siteKey),
    "The publishable key has the right form.",
    'The script tag needs data-key="pk_…", the publishable key of the site.',
  );
  if (!session.getView().site) await session.start();
  const { error } = session.getView();
  check(
    "session",
    !error,
    "The API opened a visitor session for this page.",
    error?.code === "network"
      ? `${apiUrl} did not answer. A Content-Security-Policy of this page must name it in connect-src.`
      : (error?.message ?? ""),
  );
  const { connection } = session.client.getState();
  const socketOrigin = new URL(apiUrl).origin.replace(/^http/, "ws");
  check(
    "realtime",
    connection.status === "live",
    "Events arrive over a WebSocket.",
    error
      ? "Not tried: it needs a session. Mend that first."
      : `Events do not arrive over a WebSocket (${connection.status}). Proxies must let it through, and a Content-Security-Policy must name ${socketOrigin} in connect-src.`,
  );
  check(
    "storage",
    session.storageIsKept,
    "The conversation is kept across reloads.",
    "This browser forbids storage here: a reload begins a new conversation.",
  );
  return { ok: checks.every(({ ok }) => ok), apiUrl, siteKey, pageOrigin: location.origin, checks };
}
