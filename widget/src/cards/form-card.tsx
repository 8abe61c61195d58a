import { Component, createRef } from "preact";
import { cardWords, fieldProblem } from "./card-words.ts";
import { metadataOf } from "./card.ts";
import type { CardProps } from "./card-view.tsx";
import { Choices } from "./choices.tsx";
import { formContent, type FormField } from "./form-fields.ts";

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** A form that the assistant asks to fill in. What was typed is kept with the card, not with the elements. */
export class FormCard extends Component<CardProps & { heading: string }, { problems: Record<string, string> }> {
  override state = { problems: {} as Record<string, string> };
  #form = createRef<HTMLFormElement>();

  #submit(event: Event): void {
    event.preventDefault();
    const { card, book } = this.props;
    const { fields = [] } = metadataOf(card);
    const controls = [...(this.#form.current?.elements ?? [])] as Control[];
    const problems: Record<string, string> = {};
    for (const { name, type } of fields) {
      const control = controls.find((each) => each.name === name);
      if (control && !control.checkValidity()) problems[name] = fieldProblem(control.validity, type);
    }
    this.setState({ problems });
    const first = controls.find(({ name }) => problems[name]);
    if (first) first.focus();
    else void book.decide(card, "result", { content: formContent(fields, card.draft) });
  }

  render({ card, book, heading }: CardProps & { heading: string }, { problems }: { problems: Record<string, string> }) {
    const { description, fields = [] } = metadataOf(card);
    return (
      <form ref={this.#form} noValidate onSubmit={(event) => this.#submit(event)}>
        <h3 id={heading}>{card.title}</h3>
        {description && <p class="why">{description}</p>}
        {fields.map((field, index) => (
          <Field
            key={field.name}
            field={field}
            id={`${heading}-${index}`}
            value={card.draft[field.name] ?? ""}
            problem={problems[field.name]}
            onInput={(value) => book.patch(card, { draft: { ...card.draft, [field.name]: value } })}
          />
        ))}
        <Choices
          card={card}
          yes={cardWords.submit}
          no={cardWords.dismiss}
          onNo={() => void book.decide(card, "error", { message: "dismissed" })}
        />
      </form>
    );
  }
}

interface FieldProps {
  field: FormField;
  id: string;
  value: string;
  problem: string | undefined;
  onInput(value: string): void;
}

const INPUTS: Record<Exclude<FormField["type"], "choice" | "long_text">, object> = {
  text: { type: "text" },
  email: { type: "email", autocomplete: "email" },
  number: { type: "number", step: "any" },
  date: { type: "date" },
};

function Field({ field, id, value, problem, onInput }: FieldProps) {
  const { name, label, type, required = false, options = [] } = field;
  const common = {
    id,
    name,
    required,
    value,
    "aria-invalid": problem !== undefined,
    "aria-describedby": problem ? `${id}-problem` : undefined,
    onInput: ({ currentTarget }: { currentTarget: Control }) => onInput(currentTarget.value),
  };
  return (
    <div class="field">
      <label for={id}>
        {label} {required && <span class="needed">({cardWords.required})</span>}
      </label>
      {type === "choice" ? (
        <select {...common}>
          <option value="">{cardWords.choose}</option>
          {options.map((option) => (
            <option key={option} value={option}>
              {option}
            </option>
          ))}
        </select>
      ) : type === "long_text" ? (
        <textarea {...common} rows={3} maxLength={10_000} />
      ) : (
        <input {...common} {...INPUTS[type]} maxLength={1_000} />
      )}
      {problem && (
        <p class="notice problem" id={`${id}-problem`}>
          {problem}
        </p>
      )}
    </div>
  );
}
