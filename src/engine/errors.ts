/** Errors of the engine that a client should hear about. */

/** The queue is full; a retry in a moment may succeed. */
export class EngineBusy extends Error {
  override readonly name = 'EngineBusy';

  constructor(waiting: number) {
    super(`The engine is busy: ${waiting} requests are waiting.`);
  }
}

/** The served model does not support a setting. The message is fit for clients. */
export class NotOfThisModel extends Error {
  override readonly name = 'NotOfThisModel';
  /** The setting, under its public name. */
  readonly param: string;

  constructor(param: string, what: string) {
    super(`${param}: this model ${what}.`);
    this.param = param;
  }
}
