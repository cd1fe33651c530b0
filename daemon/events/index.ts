export { createEventLog, EVENTS_KEPT, type EventLog, type OwnEvent, timeOf } from './log.ts'
export { createNews, decodeNews, encodeNews, isPublic, NEWS_TOPIC, type News, type NewsItem } from './news.ts'
export { createStepThinner, type StepThinner } from './thinner.ts'
