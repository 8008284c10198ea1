/** Code as coloured elements, outside of the editor. */
import { highlightTree, tagHighlighter, tags } from '@lezer/highlight';
import { element } from '../dom.ts';
import { type Language, parserOf } from './languages.ts';

const highlighter = tagHighlighter([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], class: 'is-keyword' },
  { tag: [tags.string, tags.special(tags.string), tags.regexp], class: 'is-string' },
  { tag: [tags.number, tags.bool, tags.null], class: 'is-number' },
  { tag: [tags.comment, tags.meta], class: 'is-comment' },
  { tag: [tags.function(tags.variableName), tags.function(tags.propertyName)], class: 'is-function' },
  { tag: [tags.typeName, tags.className, tags.namespace], class: 'is-type' },
  { tag: tags.heading, class: 'is-keyword' },
]);

interface Parts {
  before: Node[];
  after: Node[];
}

/** The code before and after a position, in pieces that never span it. */
export function highlighted(code: string, at: number, language: Language): Parts {
  const parts: Parts = { before: [], after: [] };
  const put = (from: number, to: number, name?: string) => {
    if (from >= to) return;
    if (from < at && to > at) {
      put(from, at, name);
      put(at, to, name);
      return;
    }
    const text = code.slice(from, to);
    (from < at ? parts.before : parts.after).push(name ? element('span', { class: name }, text) : new Text(text));
  };
  let done = 0;
  highlightTree(parserOf(language).parse(code), highlighter, (from, to, name) => {
    put(done, from);
    put(from, to, name);
    done = to;
  });
  put(done, code.length);
  return parts;
}
