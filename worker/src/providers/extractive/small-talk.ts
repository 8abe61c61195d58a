/** What needs no search: greetings, thanks, questions about the assistant itself. */
import { allWords } from "./words.ts";

export interface Persona {
  name: string;
  /** Questions the agent's owner suggests to visitors. */
  suggestions: readonly string[];
}

const GREETING =
  /^(hi+|hello+|hey+|hiya|howdy|yo|greetings|good (morning|afternoon|evening|day))( (there|again|all|everyone))?$/;
const LEADING_GREETING =
  /^\s*(hi+|hello+|hey+|hiya|howdy|greetings|good (morning|afternoon|evening|day))( (there|again))?\s*[,.!:;–-]+\s*(?=[\p{L}\p{N}])/iu;
const THANKS =
  /^(ok(ay)? )?(many thanks|thanks|thank you|thx|cheers|ty)( (so|very) much| a lot| again| for (your|the) help)?$/;
const GOODBYE =
  /^(ok(ay)? )?(bye( bye)?|goodbye|good night|see you( later| soon)?|that('s| is) all( thanks| thank you)?)$/;
const FEELING = /^(hi |hello |hey )?how are you( doing)?( today)?$|^how('s| is) it going$|^what('s| is) up$/;
const IDENTITY =
  /^(who|what) are you$|^are you (a |an )?(real |actual )?(human|person|bot|robot|ai|machine|chatbot|chatgpt|gpt|language model|llm|real)( person| human| assistant)?$|^am i (talking|speaking|chatting) (to|with) (a |an )?(real )?(human|person|bot|robot|ai|machine)$|^what('s| is) your name$|^do you have a name$/;
const ABILITIES =
  /^(help|help me|what can you (do|help( me)? with)|how can you help( me)?|what do you know|what can i ask( you)?)$/;

/** The answer to small talk, or null when the text asks something. */
export function smallTalk(text: string, persona: Persona): string | null {
  const said = allWords(text).join(" ");
  if (GREETING.test(said)) return `Hello! I am ${persona.name}. What would you like to know?${examples(persona)}`;
  if (FEELING.test(said)) return `Thank you, all is well here. What would you like to know?${examples(persona)}`;
  if (THANKS.test(said)) return "You are welcome! Just ask if there is anything else.";
  if (GOODBYE.test(said)) return "Goodbye, and thank you for stopping by!";
  if (sentencesOf(text).every((sentence) => IDENTITY.test(sentence))) {
    return (
      `I am ${persona.name}, an automated assistant. I am not a person and not a language model: ` +
      `I search this site's documents and quote what I find.${examples(persona)}`
    );
  }
  if (ABILITIES.test(said)) {
    return (
      "I look up answers in this site's documents and show you the passage they come from. " +
      `Ask me a question in your own words.${examples(persona)}`
    );
  }
  return null;
}

/** "Who are you? Are you a robot?" asks the same thing twice. */
function sentencesOf(text: string): string[] {
  const sentences = text.split(/[.?!]+/).map((sentence) => allWords(sentence).join(" "));
  const spoken = sentences.filter((sentence) => sentence !== "");
  return spoken.length > 0 ? spoken : [""];
}

/** "Hi, do you ship to Canada?" asks about shipping: the greeting is in the way of the search. */
export function withoutGreeting(text: string): string {
  return text.replace(LEADING_GREETING, "");
}

/** A sentence that names what can be asked, with a blank before it; empty when nothing was suggested. */
export function examples(persona: Persona): string {
  const [first, second] = persona.suggestions;
  if (first === undefined) return "";
  return second === undefined
    ? ` You could ask, for example: “${first}”`
    : ` You could ask, for example: “${first}” or “${second}”`;
}
