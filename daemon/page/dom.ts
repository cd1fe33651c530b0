/** Small helpers over the document. Text goes in as text only, so nothing that a peer says can become markup. */

/** The element with that id; a page without it is broken, so its absence throws. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`The page lacks #${id}`)
  return element as unknown as T
}

/** Writes text if it changed, so that an unchanged page costs no layout. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

type Child = Node | string

/** Makes an HTML element. */
export function make(tag: string, attributes: Record<string, string> = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children)
  return element
}

/** Makes an SVG element. */
export function makeSvg(
  tag: string,
  attributes: Record<string, string | number> = {},
  ...children: Child[]
): SVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

/** Colours of peers, in the order in which they were first seen. */
const COLOURS = 8

/** Name of the style variable with a peer's colour. */
export function colourVariable(index: number): string {
  return `--p${index % COLOURS}`
}

/** The colour itself, in the reader's light or dark scheme. */
export function colour(index: number): string {
  return styleValue(colourVariable(index))
}

export function styleValue(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim()
}

/** A dot in the colour of a peer. */
export function dot(index: number): HTMLElement {
  const element = make('i', { class: 'dot' })
  element.style.setProperty('--c', `var(${colourVariable(index)})`)
  return element
}

/** Makes the buttons of a switch exclusive; calls back with the chosen value. */
export function onSwitch(attribute: string, choose: (value: string) => void): void {
  const buttons = document.querySelectorAll<HTMLButtonElement>(`button[data-${attribute}]`)
  for (const button of buttons) {
    button.addEventListener('click', () => {
      for (const other of buttons) other.setAttribute('aria-pressed', String(other === button))
      choose(button.dataset[attribute] ?? '')
    })
  }
}
