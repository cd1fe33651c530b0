export { createEventLog, EVENTS_KEPT, type EventLog, type OwnEvent, timeOf } from './log.ts'
export { createNews, decodeNews, encodeNews, isPublic, NEWS_TOPIC, type News, type NewsItem } from './news.ts'
export { type ContributionThinner, createContributionThinner, createStepThinner, type StepThinner } from './thinner.ts'
