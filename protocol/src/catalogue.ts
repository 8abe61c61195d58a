/** What the installation's Composio offers, as the API shows it. */

export interface CatalogueToolkit {
  /** Composio's name for it: `settings.toolkit` of what is installed. */
  slug: string;
  name: string;
  description: string;
  logoUrl: string | null;
  categories: string[];
  toolCount: number;
  /** The newest, which installing it pins. */
  version: string | null;
  /** How people sign in there, for instance `OAUTH2`; empty when nobody has to. */
  authSchemes: string[];
  /** Composio has a sign-in of its own for it; else `settings.authConfigId` must name one. */
  isManaged: boolean;
}

export interface CatalogueTool {
  /** Composio's name for it: what `settings.tools` lists. */
  slug: string;
  name: string;
  description: string;
  /** By its hints; what is not said to be harmless is a write. */
  effect: "read" | "idempotent" | "write";
  /** Among those that are installed when none are chosen. */
  isImportant: boolean;
  needsAccount: boolean;
}
