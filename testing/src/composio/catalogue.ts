/** What this Composio offers: a few toolkits as they are in life, and a thousand for size. */

export interface FakeTool {
  slug: string;
  name: string;
  description: string;
  toolkit: string;
  parameters: Record<string, unknown>;
  tags: string[];
  scopes: string[];
  isImportant?: boolean;
  noAuth?: boolean;
}

export interface FakeToolkit {
  slug: string;
  name: string;
  description: string;
  category: string;
  authScheme: "OAUTH2" | "API_KEY" | "NO_AUTH";
  isManaged: boolean;
  /** Oldest first. */
  versions: string[];
  tools: FakeTool[];
}

const TEXT = { type: "string" };
const FILE = {
  type: "object",
  title: "FileUploadable",
  file_uploadable: true,
  properties: { name: TEXT, mimetype: TEXT, s3key: TEXT },
  required: ["name", "mimetype", "s3key"],
};

function objectOf(properties: Record<string, unknown>, required: string[] = []): Record<string, unknown> {
  return { type: "object", title: "Request", properties, required };
}

type Sketch = [
  slug: string,
  description: string,
  parameters: Record<string, unknown>,
  tags: string[],
  scopes?: string[],
];

function toolsOf(toolkit: string, sketches: Sketch[]): FakeTool[] {
  return sketches.map(([slug, description, parameters, tags, scopes = []]) => ({
    slug,
    name: slug.toLowerCase().replaceAll("_", " "),
    description,
    toolkit,
    parameters,
    tags,
    scopes,
    isImportant: tags.includes("important"),
  }));
}

const mail = objectOf(
  {
    recipient_email: { ...TEXT, format: "email" },
    subject: TEXT,
    body: TEXT,
    attachment: { anyOf: [FILE, { type: "null" }] },
  },
  ["recipient_email", "body"],
);
const MAIL_SCOPES = ["https://www.googleapis.com/auth/gmail.modify"];

const gmail = toolsOf("gmail", [
  [
    "GMAIL_FETCH_EMAILS",
    "Lists mails.",
    objectOf({ query: TEXT, max_results: { type: "integer" } }),
    ["important", "readOnlyHint"],
    MAIL_SCOPES,
  ],
  ["GMAIL_SEND_EMAIL", "Sends a mail.", mail, ["important", "openWorldHint"], MAIL_SCOPES],
  ["GMAIL_CREATE_EMAIL_DRAFT", "Writes a draft.", mail, ["important"], MAIL_SCOPES],
  [
    "GMAIL_GET_ATTACHMENT",
    "Downloads an attachment.",
    objectOf({ message_id: TEXT }, ["message_id"]),
    ["readOnlyHint"],
    MAIL_SCOPES,
  ],
  [
    "GMAIL_DELETE_MESSAGE",
    "Deletes a mail for ever.",
    objectOf({ message_id: TEXT }, ["message_id"]),
    ["destructiveHint", "idempotentHint"],
    MAIL_SCOPES,
  ],
  [
    "GMAIL_ADD_LABEL",
    "Labels a mail.",
    objectOf({ message_id: TEXT, label: TEXT }, ["message_id", "label"]),
    ["idempotentHint"],
    MAIL_SCOPES,
  ],
]);

const slack = toolsOf("slack", [
  [
    "SLACK_SEND_MESSAGE",
    "Posts a message in a channel.",
    objectOf({ channel: TEXT, text: TEXT }, ["channel", "text"]),
    ["important"],
    ["chat:write"],
  ],
  ["SLACK_LIST_CHANNELS", "Lists channels.", objectOf({}), ["important", "readOnlyHint"], ["channels:read"]],
]);

const drive = toolsOf("googledrive", [
  [
    "GOOGLEDRIVE_UPLOAD_FILE",
    "Uploads a file.",
    objectOf({ file_to_upload: FILE, folder: TEXT }, ["file_to_upload"]),
    ["important"],
    ["drive.file"],
  ],
  [
    "GOOGLEDRIVE_DOWNLOAD_FILE",
    "Downloads a file.",
    objectOf({ file_id: TEXT }, ["file_id"]),
    ["important", "readOnlyHint"],
    ["drive.readonly"],
  ],
]);

/** More tools than fit into one page of a hundred. */
const github = [
  ...toolsOf("github", [
    [
      "GITHUB_CREATE_AN_ISSUE",
      "Opens an issue.",
      objectOf({ owner: TEXT, repo: TEXT, title: TEXT }, ["owner", "repo", "title"]),
      ["important"],
      ["repo"],
    ],
    [
      "GITHUB_GET_A_REPOSITORY",
      "Reads a repository.",
      objectOf({ owner: TEXT, repo: TEXT }, ["owner", "repo"]),
      ["important", "readOnlyHint"],
      ["repo"],
    ],
  ]),
  ...toolsOf(
    "github",
    Array.from({ length: 250 }, (_, index) => [
      `GITHUB_LIST_THINGS_${String(index).padStart(3, "0")}`,
      `Lists things of kind ${index}.`,
      objectOf({ page: { type: "integer" } }),
      ["readOnlyHint"],
    ]),
  ),
];

/** Schemas that no model takes as they are, seen in life: `type: None`, `required` with doubles, no type at all. */
const oddities = toolsOf("oddities", [
  ["ODDITIES_NONE", "Has a type None.", objectOf({ a: { type: "None" }, b: TEXT }), ["important", "readOnlyHint"]],
  ["ODDITIES_TWICE", "Requires a thing twice.", objectOf({ a: TEXT }, ["a", "a"]), ["important", "readOnlyHint"]],
  ["ODDITIES_TEXT", "Takes a text where an object must be.", { type: "string" }, ["important"]],
  ["ODDITIES_GOOD", "Is as it should be.", objectOf({ a: TEXT }), ["important", "readOnlyHint"]],
]);

const weather: FakeTool[] = toolsOf("weathermap", [
  [
    "WEATHERMAP_WEATHER",
    "Says what the weather is.",
    objectOf({ location: TEXT }, ["location"]),
    ["important", "readOnlyHint"],
  ],
]).map((tool) => ({ ...tool, noAuth: true }));

const VERSIONS = ["20250909_00", "20251103_00"];

function handMade(slug: string, name: string, description: string, tools: FakeTool[], more: Partial<FakeToolkit> = {}) {
  const toolkit: FakeToolkit = {
    slug,
    name,
    description,
    category: "productivity",
    authScheme: "OAUTH2",
    isManaged: true,
    versions: [...VERSIONS],
    tools,
    ...more,
  };
  return toolkit;
}

/** @param total how many toolkits there are in all */
export function makeCatalogue(total = 1_000): FakeToolkit[] {
  const known = [
    handMade("gmail", "Gmail", "Mails of Google.", gmail),
    handMade("slack", "Slack", "Messages in channels.", slack, { category: "communication" }),
    handMade("github", "GitHub", "Repositories and issues.", github, { category: "developer-tools" }),
    handMade("googledrive", "Google Drive", "Files of Google.", drive),
    handMade("weathermap", "WeatherMap", "The weather.", weather, { authScheme: "NO_AUTH", isManaged: false }),
    handMade("oddities", "Oddities", "Schemas as they come.", oddities, { authScheme: "API_KEY", isManaged: false }),
  ];
  const rest = Array.from({ length: Math.max(0, total - known.length) }, (_, index) => {
    const slug = `service${String(index).padStart(4, "0")}`;
    const tools = toolsOf(slug, [
      [`${slug.toUpperCase()}_GET`, "Gets a thing.", objectOf({ id: TEXT }), ["important", "readOnlyHint"]],
    ]);
    return handMade(slug, `Service ${index}`, `What service ${index} does for people.`, tools, { category: "other" });
  });
  return [...known, ...rest];
}

/** As `GET /toolkits` lists it. */
export function toolkitItem(toolkit: FakeToolkit): Record<string, unknown> {
  const { slug, name, authScheme, isManaged } = toolkit;
  return {
    slug,
    name,
    type: "native",
    is_local_toolkit: false,
    no_auth: authScheme === "NO_AUTH",
    auth_schemes: [authScheme],
    composio_managed_auth_schemes: isManaged ? [authScheme] : [],
    auth_guide_url: null,
    deprecated: { toolkitId: `id-of-${slug}` },
    meta: metaOf(toolkit),
  };
}

function metaOf({ slug, description, category, tools, versions }: FakeToolkit): Record<string, unknown> {
  return {
    description,
    logo: `https://logos.composio.dev/api/${slug}`,
    app_url: `https://${slug}.example`,
    categories: [{ id: category, name: category }],
    created_at: "2025-01-01T00:00:00.000Z",
    updated_at: "2025-11-03T00:00:00.000Z",
    tools_count: tools.length,
    triggers_count: 0,
    version: versions.at(-1),
  };
}

/** As `GET /toolkits/{slug}` answers it. */
export function toolkitDetail(toolkit: FakeToolkit): Record<string, unknown> {
  const { slug, name, authScheme, isManaged, versions } = toolkit;
  return {
    slug,
    name,
    type: "native",
    enabled: true,
    is_local_toolkit: false,
    composio_managed_auth: isManaged ? [{ mode: authScheme, scopes: { available: [] } }] : [],
    composio_managed_auth_schemes: isManaged ? [authScheme] : [],
    auth_config_details: [
      {
        name: `${slug}_${authScheme.toLowerCase()}`,
        mode: authScheme,
        fields: {
          auth_config_creation: { optional: [], required: [] },
          connected_account_initiation: { optional: [], required: [] },
        },
      },
    ],
    deprecated: { rawProxyInfoByAuthSchemes: [], toolkitId: `id-of-${slug}` },
    meta: { ...metaOf(toolkit), available_versions: versions },
  };
}

/** As `GET /tools` and `GET /tools/{slug}` answer it, in one version. */
export function toolItem(tool: FakeTool, toolkit: FakeToolkit, version: string): Record<string, unknown> {
  const named = { slug: toolkit.slug, name: toolkit.name, logo: `https://logos.composio.dev/api/${toolkit.slug}` };
  return {
    slug: tool.slug,
    name: tool.name,
    description: tool.description,
    human_description: tool.description,
    input_parameters: tool.parameters,
    output_parameters: { type: "object", properties: { data: { type: "object" }, successful: { type: "boolean" } } },
    tags: tool.tags,
    scopes: tool.scopes,
    scope_requirements: null,
    no_auth: tool.noAuth ?? false,
    is_deprecated: false,
    toolkit: named,
    version,
    available_versions: toolkit.versions,
    deprecated: {
      displayName: tool.name,
      is_deprecated: false,
      version,
      available_versions: toolkit.versions,
      toolkit: { logo: named.logo },
    },
  };
}
