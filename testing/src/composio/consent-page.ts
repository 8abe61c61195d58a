import type { FakeAccount } from "./accounts.ts";

/** The page a link leads to. Its two buttons are what a person decides there. */
export function consentPage(account: FakeAccount): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Connect ${account.toolkit}</title>
<h1>Connect your ${account.toolkit} account</h1>
<p>A fake provider asks whether the application may act for you.</p>
<form method="post"><button name="decision" value="allow">Allow</button> <button name="decision" value="deny">Deny</button></form></html>`;
}

/** Where the person is sent afterwards; null when the application named no place. */
export function callbackOf(account: FakeAccount): string | null {
  if (account.callbackUrl === null) return null;
  const url = new URL(account.callbackUrl);
  url.searchParams.set("status", account.status === "ACTIVE" ? "success" : "failed");
  url.searchParams.set("connected_account_id", account.id);
  return url.href;
}
