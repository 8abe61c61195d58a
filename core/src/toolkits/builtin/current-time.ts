import type { ToolAnswer } from "../toolkit.ts";
import { builtinTool, type BuiltinDeps, type BuiltinTool } from "./builtin-tool.ts";
import type { BuiltinSettings } from "./builtin-settings.ts";
import { isTimeZone, localTime } from "./time-zone.ts";

/** A model knows neither the day nor the hour. */
export function currentTime(settings: BuiltinSettings, { now }: Pick<BuiltinDeps, "now">): BuiltinTool {
  const usual = settings.timeZone ?? "UTC";
  return builtinTool(
    "current_time",
    {
      description:
        "Tells the date, the weekday and the time right now. Use it whenever an answer depends on today's date or on " +
        `the hour. Without \`timeZone\` it tells the time in ${usual}.`,
      parameters: {
        type: "object",
        properties: {
          timeZone: { type: "string", description: 'An IANA time zone, for instance "Europe/Berlin".', maxLength: 64 },
        },
        additionalProperties: false,
      },
      effect: "read",
      visibility: { arguments: true, results: true },
    },
    ({ arguments: args }): ToolAnswer => {
      const timeZone = typeof args.timeZone === "string" ? args.timeZone : usual;
      if (!isTimeZone(timeZone)) {
        const content = `There is no time zone ${JSON.stringify(timeZone)}. Use an IANA name, for instance "Europe/Berlin".`;
        return { content, isError: true };
      }
      return { content: { ...localTime(now(), timeZone), timeZone } };
    },
  );
}
