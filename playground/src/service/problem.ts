/** Errors as shown to the user: what is wrong, and what can be done about it. */

/** What the page can do about it. */
export type Remedy = 'settings' | 'retry' | 'browser';

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly title: string;
  readonly remedies: readonly Remedy[];

  constructor(title: string, message: string, remedies: readonly Remedy[] = ['retry']) {
    super(message);
    this.title = title;
    this.remedies = remedies;
  }
}

export interface ErrorBody {
  error?: { message?: string; code?: string | null };
}

/** An error response of the API, in words. */
export function problemOf(status: number, { error = {} }: ErrorBody): Problem {
  const message = error.message ?? `The service answered with status ${status}.`;
  switch (error.code) {
    case 'missing_api_key':
      return new Problem('A key is needed', 'This service answers only who has a key. Enter yours in the settings.', [
        'settings',
      ]);
    case 'invalid_api_key':
      return new Problem('The key was refused', 'The service does not know this key. Correct it in the settings.', [
        'settings',
      ]);
    case 'no_api_keys_configured':
      return new Problem('The service is closed', message, ['settings']);
    case 'model_unavailable':
      return new Problem('The weights cannot be used', message);
    case 'model_not_found':
      return new Problem('Another model is served there', message, ['settings', 'retry']);
    case 'engine_busy':
      return new Problem('The service is busy', 'Too many requests wait for the model. Try again in a moment.');
    default:
      if (status === 429) return new Problem('Too many requests', message);
      if (status === 504) return new Problem('It took too long', message);
      return new Problem(status >= 500 ? 'The service failed' : 'The request was refused', message);
  }
}

/** No service answers at an address. */
export function unreachable(address: string): Problem {
  const offline = navigator.onLine ? '' : ' This browser is offline.';
  return new Problem(
    'The service cannot be reached',
    `Nothing answers at ${address}.${offline} Is it running, and may this page ask it?`,
    ['retry', 'settings', 'browser'],
  );
}
