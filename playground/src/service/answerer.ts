/** Answers requests of the API: the service over the network, or the same code in a Web Worker of this page. */

export interface Answerer {
  /** Requests a path of the API. Rejects with a TypeError without an answer, and with the signal's reason. */
  fetch(path: string, init: RequestInit): Promise<Response>;
}

export interface ServiceAddress {
  baseUrl: string;
  key: string;
}

/** The service at an address. */
export function serviceAt({ baseUrl, key }: ServiceAddress): Answerer {
  return {
    fetch(path, init) {
      const headers = new Headers(init.headers);
      if (key !== '') headers.set('authorization', `Bearer ${key}`);
      return fetch(baseUrl + path, { ...init, headers, credentials: 'omit', referrerPolicy: 'no-referrer' });
    },
  };
}
