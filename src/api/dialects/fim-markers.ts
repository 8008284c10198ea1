/**
 * Prompts that include the suffix, between the fill-in-the-middle markers of a model that the client assumes. Zed
 * (crates/edit_prediction/src/fim.rs), Twinny (src/extension/fim-templates.ts) and others write them and leave the
 * `suffix` field out.
 */
import type { PromptText } from '../completion/completion.ts';
import { withoutTurns } from './sdk-turns.ts';

/** Marker before the prefix, before the suffix and before the middle, which the model would write. */
interface Markers {
  prefix: string;
  suffix: string;
  middle: string;
}

const MARKERS: readonly Markers[] = [
  // Qwen2.5-Coder, CodeGemma
  { prefix: '<|fim_prefix|>', suffix: '<|fim_suffix|>', middle: '<|fim_middle|>' },
  // StarCoder, StarCoder2, StableCode
  { prefix: '<fim_prefix>', suffix: '<fim_suffix>', middle: '<fim_middle>' },
  // DeepSeek-Coder; its bars and blocks are U+FF5C and U+2581
  {
    prefix: '<\uff5cfim\u2581begin\uff5c>',
    suffix: '<\uff5cfim\u2581hole\uff5c>',
    middle: '<\uff5cfim\u2581end\uff5c>',
  },
  // Code Llama, whose markers are parted from the text by one space
  { prefix: '<PRE> ', suffix: ' <SUF>', middle: ' <MID>' },
  // GLM-4
  { prefix: '<|code_prefix|>', suffix: '<|code_suffix|>', middle: '<|code_middle|>' },
];

/** Codestral has the suffix first. */
const CODESTRAL = { suffix: '[SUFFIX]', prefix: '[PREFIX]' };

/** The part before the prefix of a repository-level prompt: names and files, separated by these. */
const REPOSITORY_MARKERS = /<\|?(?:repo_name|reponame|file_sep|filename)\|?>/g;

/** What Continue sends for a blank suffix to Inception, whose model knows it as the end of the file. */
const END_OF_FILE = '<|endoftext|>';

/** Makes the text around the cursor of a prompt; markers count only where the request has no suffix of its own. */
export function promptText(suffixSent: string, stop: readonly string[] = []) {
  const suffix = suffixSent === END_OF_FILE ? '' : suffixSent;
  return (text: string): PromptText => {
    const prefix = withoutTurns(text, stop);
    const parts = suffix === '' ? splitAtMarkers(prefix) : undefined;
    return { text, prefix, suffix, ...parts };
  };
}

/** The prefix and suffix between the markers of a prompt; undefined if it has no complete set of markers. */
export function splitAtMarkers(prompt: string): { prefix: string; suffix: string } | undefined {
  if (prompt.startsWith(CODESTRAL.suffix)) {
    const at = prompt.lastIndexOf(CODESTRAL.prefix);
    if (at < 0) return undefined;
    return {
      prefix: prompt.slice(at + CODESTRAL.prefix.length),
      suffix: prompt.slice(CODESTRAL.suffix.length, at),
    };
  }
  for (const markers of MARKERS) {
    const parts = split(prompt, markers);
    if (parts) return parts;
  }
  return undefined;
}

function split(prompt: string, { prefix, suffix, middle }: Markers): { prefix: string; suffix: string } | undefined {
  const end = prompt.lastIndexOf(middle);
  const [first, firstAt, second] = firstOf(prompt, prefix, suffix);
  const lead = prompt.slice(0, Math.max(firstAt, 0)).replace('<s>', '');
  // A marker within source code is not interpreted. Before its first marker a prompt has nothing, or other files under
  // their names; it may have other text if it ends with its last marker, which source code does not.
  const isWhole = prompt.length === end + middle.length;
  if (firstAt < 0 || (lead.trim() !== '' && lead.search(REPOSITORY_MARKERS) !== 0 && !isWhole)) return undefined;
  const secondAt = prompt.indexOf(second, firstAt + first.length);
  if (secondAt < 0 || end < secondAt + second.length) return undefined;
  const parts = {
    [first]: prompt.slice(firstAt + first.length, secondAt),
    [second]: prompt.slice(secondAt + second.length, end),
  };
  // The text after the last marker is the beginning of the middle: the completion continues it.
  const begun = prompt.slice(end + middle.length);
  return { prefix: lead.replaceAll(REPOSITORY_MARKERS, '') + parts[prefix]! + begun, suffix: parts[suffix]! };
}

/** The marker that comes first, its position, and the other marker. */
function firstOf(prompt: string, prefix: string, suffix: string): [first: string, at: number, second: string] {
  const [prefixAt, suffixAt] = [prompt.indexOf(prefix), prompt.indexOf(suffix)];
  // Some models have learned both orders.
  const isSuffixFirst = suffixAt >= 0 && suffixAt < prefixAt;
  return isSuffixFirst ? [suffix, suffixAt, prefix] : [prefix, prefixAt, suffix];
}
