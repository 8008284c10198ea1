/** Completions through OpenAI's client. See README.md beside this file. */
import OpenAI, { NotFoundError } from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.QUICKSILVER_URL ?? 'http://127.0.0.1:8787'}/v1`,
  apiKey: process.env.QUICKSILVER_KEY ?? 'none',
});

// Text between prompt and suffix. `editor`, which is not in OpenAI's API, returns only what an editor can show.
const { choices, usage } = await client.completions.create({
  model: 'small',
  prompt: '/** Adds numbers. */\nfunction sum(numbers) {\n  let total = 0;\n  for (let i = 0; i < numbers.',
  suffix: '; i++) {\n    total += numbers[i];\n  }\n  return total;\n}\n',
  ...{ editor: true },
});
console.log('completion:', JSON.stringify(choices[0]?.text), 'tokens:', usage?.completion_tokens);

// Streamed until there is enough text: leaving the loop also stops the model.
const stream = await client.completions.create({
  model: 'small',
  prompt: 'function clamp(value, min, max) {\n  if (value < min) return min;\n  if (value > max) return ',
  suffix: ';\n  return value;\n}\n',
  stream: true,
  ...{ editor: true },
});
let text = '';
for await (const chunk of stream) {
  text += chunk.choices[0]?.text ?? '';
  if (text.length > 80) break;
}
console.log('stream:', JSON.stringify(text));

try {
  await client.completions.create({ model: 'unknown', prompt: 'a' });
} catch (error) {
  if (!(error instanceof NotFoundError)) throw error;
  console.log('error:', error.code, error.message);
}
