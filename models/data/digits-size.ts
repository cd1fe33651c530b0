/** Size of the embedded drawings of digits. */

/** Pixels along each side. */
export const DIGIT_SIDE = 28
/** The digits 0 to 9. */
export const DIGIT_CLASSES = 10
