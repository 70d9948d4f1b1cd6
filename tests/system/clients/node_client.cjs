// One chat completion by the Node client. Arguments come as JSON on stdin; results go as JSON lines to stdout.
const { readFileSync } = require('node:fs');
const { OpenAI } = require(`${process.env.TEST_PACKAGES}/openai`);

async function main() {
  const parameters = JSON.parse(readFileSync(0, 'utf8'));
  const client = new OpenAI({ baseURL: process.env.TEST_BASE_URL, apiKey: process.env.TEST_KEY, maxRetries: 0 });
  try {
    const answer = await client.chat.completions.create(parameters);
    if (!parameters.stream) return console.log(JSON.stringify(answer));
    for await (const chunk of answer) console.log(JSON.stringify(chunk));
  } catch (error) {
    console.log(JSON.stringify({ raised: error.constructor.name, message: error.message, status: error.status }));
  }
}

main();
