#!/usr/bin/env bash
# Vercel's AI SDK, `openai.completion(model)`: the prompt of a text completion is written out as a chat ("user:",
# "assistant:") and the answer is stopped at "\nuser:". `prompt` is meant to be continued as it stands; with these lines
# a code model answers a conversation, and a `suffix` fits no more. `createOpenAICompatible(…).completionModel(model)`
# does the same. No option turns it off.
#
# Versions  ai 7.0.173, @ai-sdk/openai 4.0.118, @ai-sdk/openai-compatible 3.0.92; Node 24.21.0 and 20.20.2
# Source    https://platform.openai.com/docs/api-reference/completions/create (prompt);
#           https://github.com/vercel/ai/issues/10272 (open)
# Seen      given "def add(a, b):\n    return ", both send
#           {"prompt":"user:\ndef add(a, b):\n    return \n\nassistant:\n","stop":["\nuser:"]}
# Exits with 1 when one of them sends something else.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts \
  ai@7.0.173 @ai-sdk/openai@4.0.118 @ai-sdk/openai-compatible@3.0.92
cat > complete.js <<'JS'
import { createServer } from 'node:http';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText } from 'ai';

globalThis.AI_SDK_LOG_WARNINGS = false;
const bodies = [];
const server = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  bodies.push(JSON.parse(body));
  response.setHeader('content-type', 'application/json');
  response.end(
    JSON.stringify({
      id: 'cmpl-1',
      object: 'text_completion',
      created: 1,
      model: 'm',
      choices: [{ index: 0, text: 'a + b', logprobs: null, finish_reason: 'stop' }],
      usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    }),
  );
}).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
try {
  const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
  const prompt = 'def add(a, b):\n    return ';
  await generateText({ model: createOpenAI({ apiKey: 'none', baseURL }).completion('m'), prompt });
  await generateText({ model: createOpenAICompatible({ name: 'local', baseURL }).completionModel('m'), prompt });
  for (const { prompt: sent, stop } of bodies) {
    console.log(JSON.stringify({ prompt: sent, stop }));
    if (sent !== `user:\n${prompt}\n\nassistant:\n` || stop?.join() !== '\nuser:') throw new Error('it has changed');
  }
  if (bodies.length !== 2) throw new Error(`${bodies.length} requests`);
} finally {
  server.close();
  server.closeAllConnections();
}
JS
node complete.js
