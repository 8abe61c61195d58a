/**
 * Builds the widget into `dist/`: the panel as ES modules with hashed names, then `widget.js`, a classic script that
 * knows the panel's name. `npm run build -w widget`.
 */
import { fileURLToPath } from "node:url";
import { build, type InlineConfig, type Plugin, type Rolldown } from "vite";

const root = fileURLToPath(new URL(".", import.meta.url));

/** Of May 2024: the first that all know `light-dark()`. */
const BROWSERS = ["chrome123", "firefox120", "safari17.5"];

/** The Markdown parser asserts its inner state to the console: nothing for our customers' pages. */
const withoutAssertions: Plugin = {
  name: "without-assertions",
  transform: {
    filter: { id: /streaming-markdown/ },
    handler: (code) => code.replace(/^\s*console\.assert\(.*\)$/gm, ""),
  },
};

/**
 * What Lit does for browsers older than ours, whose way around constructed styles a strict policy would forbid anyway, and
 * the marks that it leaves on the customer's `window` for its own tools.
 */
const withoutOldBrowsers: Plugin = {
  name: "without-old-browsers",
  transform: {
    filter: { id: /@lit\/reactive-element/ },
    handler: (code) =>
      code
        .replace(/=\w+\.ShadowRoot&&\(.*?CSSStyleSheet\.prototype/, "=!0")
        .replace(/,\w+\?\.\(\{ReactiveElement:\w+\}\),\(\w+\.reactiveElementVersions\?\?=\[\]\)\.push\("[\d.]+"\)/, ""),
  },
};

function config(
  outDir: string,
  entry: string,
  rest: InlineConfig["build"],
  define: Record<string, string> = {},
): InlineConfig {
  return {
    configFile: false,
    root,
    logLevel: "warn",
    define: { "process.env.NODE_ENV": '"production"', ...define },
    plugins: [withoutAssertions, withoutOldBrowsers],
    // Whatever NODE_ENV says: the libraries' development versions are larger, and talk to the console.
    resolve: { conditions: ["production", "module", "browser"] },
    oxc: { jsx: { runtime: "automatic", importSource: "preact", development: false } },
    build: {
      outDir,
      target: "es2022",
      cssTarget: BROWSERS,
      emptyOutDir: false,
      ...rest,
      lib: { entry, ...rest?.lib } as never,
    },
  };
}

/** Answers the names of the files, the launcher's first. */
export async function buildWidget(outDir = `${root}dist`): Promise<string[]> {
  // Vite leaves the whitespace in ES libraries, and hints for whoever bundles them, unless the bundler is told itself.
  const optimization = { inlineConst: { mode: "all", pass: 2 } } as const;
  const treeshake = { propertyReadSideEffects: false, unknownGlobalSideEffects: false } as const;
  const minified = { minify: true, comments: { annotation: false } } as const;
  const panel = await output(
    config(outDir, "src/panel/mount.tsx", {
      emptyOutDir: true,
      lib: { entry: "src/panel/mount.tsx", formats: ["es"] },
      rolldownOptions: {
        optimization,
        treeshake,
        // What a lazy chunk shares with the panel stays in the panel, which is one request.
        preserveEntrySignatures: "allow-extension",
        output: { ...minified, entryFileNames: "panel-[hash].js", chunkFileNames: "[name]-[hash].js" },
      },
    }),
  );
  const panelFile = panel.find((chunk) => chunk.type === "chunk" && chunk.isEntry)?.fileName;
  const launcher = await output(
    config(
      outDir,
      "src/launcher/main.ts",
      {
        lib: { entry: "src/launcher/main.ts", formats: ["iife"], name: "agentWidget" },
        rolldownOptions: { optimization, treeshake, output: { ...minified, entryFileNames: "widget.js" } },
      },
      { PANEL_FILE: JSON.stringify(panelFile) },
    ),
  );
  return [...launcher, ...panel].map((file) => file.fileName);
}

async function output(config: InlineConfig): Promise<Rolldown.RolldownOutput["output"][number][]> {
  const built = (await build(config)) as Rolldown.RolldownOutput[];
  return built.flatMap((one) => one.output);
}

if (import.meta.main) console.log((await buildWidget()).join("\n"));
