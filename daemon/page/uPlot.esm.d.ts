// The chart library as it is served beside the page.
export { default } from 'uplot'
