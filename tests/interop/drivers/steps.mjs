// The same steps for clients in JavaScript; the report is the one of steps.py.
import process from "node:process";

export const STEP_MS = 20_000;
export const ECHO = { name: "echo", arguments: { message: "through the gate" } };
export const SLOW = { name: "trigger-long-running-operation", arguments: { duration: 0.4, steps: 4 } };
export const ASK = { name: "trigger-elicitation-request", arguments: {} };
export const ANSWER = { action: "accept", content: { name: "Barrier Keeper", check: true } };
export const url = new URL(process.argv[2]);
export const words = process.argv.slice(3);
export const headers = { Authorization: `Bearer ${process.env.SEKISHO_TOKEN}` };

export const textOf = (result) =>
  result.content
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n");

function bounded(promise) {
  let timer;
  const late = new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error("no answer in time")), STEP_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function report(steps) {
  const outcome = { errors: {} };
  for (const [name, step] of Object.entries(steps)) {
    try {
      outcome[name] = await bounded(step());
    } catch (error) {
      outcome.errors[name] = String(error);
    }
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
