import { describe, expect, it } from 'vitest';
import { refusalInAnswer, refusalInEvent, refusalOf } from '../../src/backend/refusal.ts';

describe('the body of an HTTP error', () => {
  it.each([
    [
      'OpenAI and vLLM',
      {
        error: {
          message: 'too long',
          type: 'invalid_request_error',
          param: 'messages',
          code: 'context_length_exceeded',
        },
      },
      { message: 'too long', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' },
    ],
    [
      'vLLM, whose code is the status',
      { error: { message: 'no', type: 'BadRequestError', param: null, code: 400 } },
      { message: 'no', type: 'BadRequestError' },
    ],
    [
      'older vLLM',
      { object: 'error', message: 'no', type: 'BadRequestError', code: 40303 },
      { message: 'no', type: 'BadRequestError', code: '40303' },
    ],
    ['TGI', { error: 'no', error_type: 'validation' }, { message: 'no', type: 'validation' }],
    ['Ollama', { error: 'no' }, { message: 'no' }],
    ['Spring', { error: 'Bad Request', message: 'no', status: 400 }, { message: 'no' }],
    [
      'FastAPI',
      {
        detail: [
          { type: 'missing', loc: ['body', 'messages', 0, 'role'], msg: 'Field required', input: {} },
          { loc: ['body', 'n'], msg: 'too small' },
        ],
      },
      { message: 'messages.0.role: Field required; n: too small', param: 'messages.0.role' },
    ],
    ['Starlette', { detail: 'no' }, { message: 'no' }],
    [
      'Mistral',
      {
        object: 'error',
        message: { detail: [{ type: 'extra_forbidden', loc: ['body', 'x'], msg: 'no' }] },
        type: 'invalid_request_error',
      },
      { message: 'x: no', type: 'invalid_request_error' },
    ],
    ['Gemini', [{ error: { code: 400, message: 'no', status: 'INVALID_ARGUMENT' } }], { message: 'no' }],
    [
      'a list of errors',
      { errors: [{ message: 'one', code: 'first_code' }, { message: 'two' }] },
      { message: 'one; two', code: 'first_code' },
    ],
    ['an object without a message', { a: 1 }, {}],
    ['null', null, {}],
  ])('should be read as %s writes it', (_, body, expected) => {
    expect(refusalOf(400, JSON.stringify(body))).toEqual({ status: 400, ...expected });
  });

  it('should be read as plain text, and not as a page', () => {
    expect(refusalOf(400, ' no such model\n', 'text/plain')).toEqual({ status: 400, message: 'no such model' });
    for (const page of ['<!doctype html><p>no', '']) expect(refusalOf(400, page, 'text/html')).toEqual({ status: 400 });
  });

  it('should be read from its beginning when the rest is cut', () => {
    const cut = JSON.stringify({ error: { message: 'say "when"', param: 'prompt', input: 'a'.repeat(100) } }).slice(
      0,
      90,
    );
    expect(refusalOf(400, cut)).toEqual({ status: 400, message: 'say "when"', param: 'prompt' });
  });

  it('should have no sentence for a code and no number for a name', () => {
    const body = { error: { message: 'no', code: 'this is what went wrong', type: 'x', param: { a: 1 } } };
    expect(refusalOf(400, JSON.stringify(body))).toEqual({ status: 400, message: 'no' });
  });
});

describe('a body with status 200', () => {
  it.each([
    [{ error: { message: 'a', code: 504 } }, 504],
    [{ error: { message: 'a', code: '429' } }, 429],
    [{ error: { message: 'a', status: 503 }, choices: [] }, 503],
    [{ error: { message: 'a', type: 'rate_limit_error', code: null } }, 429],
    [{ error: { message: 'a', type: 'overloaded_error' } }, 503],
    [{ error: { message: 'a', type: 'invalid_request_error', code: 'context_length_exceeded' } }, 400],
    [{ error: { message: 'a', code: 'invalid_api_key' } }, 401],
    [{ error: { message: 'a', code: 'model_not_found' } }, 404],
    [{ error: 'CUDA out of memory' }, 500],
    [{ object: 'error', message: 'a', code: 400 }, 400],
    [{ detail: 'a' }, 500],
    [{ code: 502, message: 'Bad gateway' }, 502],
    [[{ error: { code: 400, status: 'INVALID_ARGUMENT' } }], 400],
    [{ choices: [{ index: 0, error: { code: 502, message: 'a' }, finish_reason: 'error' }] }, 502],
    [{ choices: [{ index: 0, finish_reason: 'error' }] }, 500],
    [{ error: { message: 'a', code: 504 }, choices: [{ text: '', finish_reason: null }] }, 504],
    [{ error: 'a', choices: [{ message: { role: 'assistant', content: null, tool_calls: [] } }] }, 500],
  ])('should be the failure that %j says', (body, status) => {
    expect(refusalInAnswer(body)?.status).toBe(status);
  });

  it.each([
    [{ choices: [{ text: 'a', finish_reason: 'stop' }], error: null }],
    [{ choices: [{ text: 'a' }], error: { message: 'beside an answer' } }],
    [{ choices: [{ message: { role: 'assistant', content: 'a' } }], error: 'beside an answer' }],
    [{ choices: [{ text: '', finish_reason: 'stop' }] }],
    [{ choices: [{ text: 'a' }, { error: { code: 500 }, finish_reason: 'error' }] }],
    [{ choices: [], error: {} }],
    ['text'],
    [null],
  ])('should be no failure when it is %j', (body) => {
    expect(refusalInAnswer(body)).toBeUndefined();
  });
});

describe('an event of a stream', () => {
  it.each([
    [{ error: { message: 'a', code: 500 } }, false, 500],
    [{ error: { code: 'server_error' }, choices: [{ delta: { content: '' }, finish_reason: 'error' }] }, false, 500],
    [{ object: 'error', message: 'a', code: 400 }, false, 400],
    [{ type: 'error', message: 'a', code: 429 }, false, 429],
    [{ status: 'error', message: 'a' }, false, 500],
    [{ message: 'a' }, true, 500],
    ['text', true, 500],
  ])('should be the failure that %j says', (data, isError, status) => {
    expect(refusalInEvent(data, isError)?.status).toBe(status);
  });

  it.each([[{ choices: [{ delta: { content: 'a' } }], error: null }], [{ usage: {} }], [1], [{ type: 'ping' }]])(
    'should be no failure when it is %j',
    (data) => {
      expect(refusalInEvent(data, false)).toBeUndefined();
    },
  );
});
