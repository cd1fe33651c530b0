/** A reason why the native engine could not be set up, as one sentence, with what mends it. */
export class SetupProblem extends Error {
  /**
   * @param {string} message what is wrong, without a full stop
   * @param {string} mend what the user does about it before running set-up again
   */
  constructor(message, mend) {
    super(message)
    this.name = 'SetupProblem'
    this.mend = mend
  }
}
