import { poll, put } from "./live.js";

poll("/ajax/time", 3, (answer) => put("time", answer.time));
poll("/ajax/processcount", 5, (answer) => put("processcount", answer.processcount));
