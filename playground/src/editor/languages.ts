/** The languages of the editor, each with a sample text: the first of its language in examples/prompts.json. */
import { javascriptLanguage, typescriptLanguage } from '@codemirror/lang-javascript';
import { pythonLanguage } from '@codemirror/lang-python';
import { defineLanguageFacet, Language as EditorLanguage } from '@codemirror/language';
import type { Extension } from '@codemirror/state';
import type { Parser } from '@lezer/common';
import { GFM, parser } from '@lezer/markdown';
import prompts from '../../../examples/prompts.json' with { type: 'json' };

export const LANGUAGES = ['javascript', 'typescript', 'python', 'markdown'] as const;

export type Language = (typeof LANGUAGES)[number];

interface LanguageEntry {
  name: string;
  language: EditorLanguage;
}

const ENTRIES: Readonly<Record<Language, LanguageEntry>> = {
  javascript: { name: 'JavaScript', language: javascriptLanguage },
  typescript: { name: 'TypeScript', language: typescriptLanguage },
  python: { name: 'Python', language: pythonLanguage },
  markdown: {
    name: 'Markdown',
    // CodeMirror's own Markdown includes HTML and CSS, a quarter of the page's size.
    language: new EditorLanguage(defineLanguageFacet(), parser.configure(GFM), [], 'markdown'),
  },
};

export function languageName(language: Language): string {
  return ENTRIES[language].name;
}

export function languageExtension(language: Language): Extension {
  return ENTRIES[language].language;
}

export function parserOf(language: Language): Parser {
  return ENTRIES[language].language.parser;
}

/** The sample's text, and the position of the cursor in it. */
export function sampleOf(language: Language): { text: string; cursor: number } {
  const sample = prompts.find((entry) => entry.language === language);
  if (sample === undefined) throw new Error(`examples/prompts.json has no prompt in ${language}`);
  return { text: sample.prompt + sample.suffix, cursor: sample.prompt.length };
}
