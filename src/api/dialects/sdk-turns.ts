/**
 * The form in which Vercel's AI SDK sends a prompt to a completion model: the lines of a conversation, `user:` before
 * the text and `assistant:` after it, with the beginning of the next turn as a stop string
 * (convert-to-openai-compatible-completion-prompt.ts in @ai-sdk/openai-compatible). A completion model has no use for
 * them.
 */
const BEFORE = 'user:\n';
const BEHIND = '\n\nassistant:\n';
const NEXT_TURN = '\nuser:';

/**
 * The prompt as it was given to the SDK. A prompt of several turns, or with instructions, is a conversation and is
 * kept.
 */
export function withoutTurns(prompt: string, stop: readonly string[]): string {
  const isFramed = stop.includes(NEXT_TURN) && prompt.startsWith(BEFORE) && prompt.endsWith(BEHIND);
  if (!isFramed || prompt.length < BEFORE.length + BEHIND.length) return prompt;
  const text = prompt.slice(BEFORE.length, -BEHIND.length);
  return text.includes(BEHIND) ? prompt : text;
}
