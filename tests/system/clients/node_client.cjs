// Calls by the Node client. What to do comes as JSON on stdin: the arguments of a chat completion, of which the answer or
// each event is printed as a JSON line; or a list of calls, for each of which a JSON line lists the same. In a call a
// text that begins with "@" stands for a file with the rest as its contents.
const { readFileSync } = require('node:fs');
const { OpenAI, toFile } = require(`${process.env.TEST_PACKAGES}/openai`);

const client = new OpenAI({ baseURL: process.env.TEST_BASE_URL, apiKey: process.env.TEST_KEY, maxRetries: 0 });

async function withFiles(argument) {
  if (typeof argument !== 'object') return argument;
  const entries = await Promise.all(Object.entries(argument).map(async ([name, value]) =>
    [name, typeof value === 'string' && value.startsWith('@') ? await toFile(Buffer.from(value.slice(1)), 'file') : value]));
  return Object.fromEntries(entries);
}

async function* ask(call, parameters) {
  const names = call.split('.');
  const resource = names.slice(0, -1).reduce((object, name) => object[name], client);
  try {
    const answer = await resource[names.at(-1)](...parameters);
    if (parameters.some((one) => one.stream === true)) yield* answer;
    else if (answer.finalChatCompletion) yield await answer.finalChatCompletion(); // of the helper for streams
    else yield answer;
  } catch (error) {
    yield { raised: error.constructor.name, message: error.message, status: error.status };
  }
}

async function main() {
  const task = JSON.parse(readFileSync(0, 'utf8'));
  if (!Array.isArray(task)) {
    for await (const item of ask('chat.completions.create', [task])) console.log(JSON.stringify(item));
    return;
  }
  for (const one of task) {
    const items = [];
    for await (const item of ask(one.call, await Promise.all(one.arguments.map(withFiles)))) items.push(item);
    console.log(JSON.stringify(items));
  }
}

main();
