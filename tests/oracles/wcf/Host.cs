// A host of LoginService, EmployeePerson and EmployeeJob on WCF. What is on the wire is WCF's: envelopes, addressing, headers,
// the serializer, faults. The code here says which accounts there are and what each of them meets.
//
// Usage: host.exe LOG (MODE URL)..., where a URL ends in /services/. Modes are plain; detail, in which faults tell of exceptions; mtom,
// soap11 and streamed. It says "ready" on standard output, and ends when standard input does.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Runtime.Serialization;
using System.Security;
using System.ServiceModel;
using System.ServiceModel.Channels;
using System.ServiceModel.Description;
using System.ServiceModel.Dispatcher;
using System.Text;
using System.Threading;

namespace Oracle
{
    public static class Names
    {
        public const string Contracts = "http://www.ultipro.com/contracts";
        public const string Login = "http://www.ultipro.com/services/loginservice";
        public const string Person = "http://www.ultipro.com/services/employeeperson";
        public const string Job = "http://www.ultipro.com/services/employeejob";
        public const string Token = "http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken";
        public const string ClientAccessKey = "http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey";
        // As WCF itself has it in the faults of its own.
        public const string Security = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    }

    [DataContract(Name = "Status", Namespace = Names.Login)]
    public enum LoginStatus { [EnumMember] Ok, [EnumMember] Failed }

    [MessageContract(WrapperName = "TokenRequest", WrapperNamespace = Names.Contracts)]
    public class TokenRequest
    {
        [MessageHeader(Namespace = Names.Login)] public string ClientAccessKey;
        [MessageHeader(Namespace = Names.Login)] public string Password;
        [MessageHeader(Namespace = Names.Login)] public string UserAccessKey;
        [MessageHeader(Namespace = Names.Login)] public string UserName;
    }

    [MessageContract(WrapperName = "TokenResponse", WrapperNamespace = Names.Contracts)]
    public class TokenResponse
    {
        [MessageBodyMember(Namespace = Names.Login, Order = 0)] public LoginStatus Status;
        [MessageBodyMember(Namespace = Names.Login, Order = 1)] public string StatusMessage;
        [MessageBodyMember(Namespace = Names.Login, Order = 2)] public string Token;
    }

    [ServiceContract(Namespace = Names.Login)]
    public interface ILoginService
    {
        [OperationContract] TokenResponse Authenticate(TokenRequest request);
    }

    // IncludeInactive is not known of UKG Pro. It is here to show how a boolean is read.
    [DataContract(Namespace = Names.Contracts)]
    public class EmployeeQuery
    {
        [DataMember] public string EmployeeNumber;
        [DataMember] public bool IncludeInactive;
        [DataMember] public string PageNumber;
        [DataMember] public string PageSize;
    }

    [DataContract(Namespace = Names.Contracts)]
    public class OperationMessage
    {
        [DataMember] public string Code;
        [DataMember] public string LogEntryId;
        [DataMember] public string Message;
        [DataMember] public string PropertyName;
        [DataMember] public string Severity;
    }

    [DataContract(Namespace = Names.Contracts)]
    public class PagingInfo
    {
        [DataMember] public int CurrentPage;
        [DataMember] public int PageSize;
        [DataMember] public int PageTotal;
        [DataMember] public int TotalItems;
    }

    [DataContract(Namespace = Names.Contracts)]
    public class OperationResult
    {
        [DataMember] public bool HasErrors;
        [DataMember] public bool HasWarnings;
        [DataMember] public List<OperationMessage> Messages;
        [DataMember] public PagingInfo PagingInfo;
        [DataMember] public string RequestNumber;
        [DataMember] public bool Success;
    }

    [DataContract(Namespace = Names.Contracts)]
    public class Record
    {
        [DataMember] public string EmployeeNumber;
    }

    [DataContract(Namespace = Names.Contracts)]
    public class FindResponse
    {
        [DataMember] public OperationResult OperationResult;
        [DataMember] public List<Record> Results;
    }

    public abstract class Find
    {
        [MessageHeader(Namespace = Names.ClientAccessKey)] public string ClientAccessKey;
        [MessageHeader(Namespace = Names.Token)] public string UltiProToken;
    }

    [MessageContract(WrapperName = "FindPeople", WrapperNamespace = Names.Person)]
    public class FindPeopleRequest : Find
    {
        [MessageBodyMember(Namespace = Names.Person)] public EmployeeQuery query;
    }

    [MessageContract(WrapperName = "FindPeopleResponse", WrapperNamespace = Names.Person)]
    public class FindPeopleResponse
    {
        [MessageBodyMember(Namespace = Names.Person)] public FindResponse FindPeopleResult;
    }

    [ServiceContract(Namespace = Names.Person)]
    public interface IEmployeePerson
    {
        [OperationContract] FindPeopleResponse FindPeople(FindPeopleRequest request);
    }

    [MessageContract(WrapperName = "FindJobs", WrapperNamespace = Names.Job)]
    public class FindJobsRequest : Find
    {
        [MessageBodyMember(Namespace = Names.Job)] public EmployeeQuery query;
    }

    [MessageContract(WrapperName = "FindJobsResponse", WrapperNamespace = Names.Job)]
    public class FindJobsResponse
    {
        [MessageBodyMember(Namespace = Names.Job)] public FindResponse FindJobsResult;
    }

    [ServiceContract(Namespace = Names.Job)]
    public interface IEmployeeJob
    {
        [OperationContract] FindJobsResponse FindJobs(FindJobsRequest request);
    }

    // One line a call, with each value in base64: what came, to the letter, whatever it was.
    public static class Log
    {
        static StreamWriter writer;

        public static void Open(string path)
        {
            writer = new StreamWriter(path, true, new UTF8Encoding(false)) { AutoFlush = true };
        }

        public static void Call(string operation, params string[] values)
        {
            var line = new StringBuilder(operation);
            for (var at = 0; at < values.Length; at += 2)
            {
                var value = values[at + 1];
                var shown = value == null ? ":null" : "=" + Convert.ToBase64String(Encoding.UTF8.GetBytes(value));
                line.Append(' ').Append(values[at]).Append(shown);
            }
            lock (writer) writer.WriteLine(line.ToString());
        }
    }

    // The accounts, by user name. All have the customer key and user key of Accounts, and a password of their own.
    public static class Accounts
    {
        public const string CustomerKey = "ORCL1";
        public const string UserKey = "UKEY0RACLE01";
        public const string Password = "right-Pa55!word";
        // Signs that a careless writer or reader of XML changes.
        public const string OddName = "svc-odd \u00fc\u6f22\ud83d\udd11 a&b<c>\"d'";
        public const string OddPassword = "]]> <![CDATA[x]]> & < > \" ' &amp; &#65; \u00e9\u20ac\u00df  two blanks %41 \\n {0} $x";

        static readonly Dictionary<string, string> sessions = new Dictionary<string, string>();

        public static string Open(string name)
        {
            var token = Guid.NewGuid().ToString();
            lock (sessions) sessions[token] = name;
            return token;
        }

        // The account that a token and a key are of, or null.
        public static string Of(Find request)
        {
            string name;
            lock (sessions) if (request.UltiProToken == null || !sessions.TryGetValue(request.UltiProToken, out name)) return null;
            return request.ClientAccessKey == CustomerKey ? name : null;
        }
    }

    [ServiceBehavior(InstanceContextMode = InstanceContextMode.Single, ConcurrencyMode = ConcurrencyMode.Multiple)]
    public class Services : ILoginService, IEmployeePerson, IEmployeeJob
    {
        static readonly FaultCode Failure = new FaultCode("FailedAuthentication", Names.Security);

        static Handled Refusal(string reason)
        {
            return new Handled(new FaultReason(reason),
                FaultCode.CreateSenderFaultCode(Failure));
        }

        static TokenResponse Failed(string message)
        {
            return new TokenResponse { Status = LoginStatus.Failed, StatusMessage = message };
        }

        public TokenResponse Authenticate(TokenRequest request)
        {
            Log.Call("Authenticate", "ClientAccessKey", request.ClientAccessKey, "Password", request.Password,
                "UserAccessKey", request.UserAccessKey, "UserName", request.UserName);
            switch (request.UserName)
            {
                case "svc-login-exception": throw new InvalidOperationException("thrown in the login");
                case "svc-login-security-exception": throw new SecurityException("Access is denied.");
                case "svc-login-fault": throw Refusal("Access is denied.");
                case "svc-login-bare-fault":
                    throw new Handled(new FaultReason("User authentication failed"), FaultCode.CreateSenderFaultCode(null));
                case "svc-login-unhandled-fault":
                    throw new FaultException(new FaultReason("Access is denied."), FaultCode.CreateSenderFaultCode(Failure));
            }
            var password = request.UserName == Accounts.OddName ? Accounts.OddPassword : Accounts.Password;
            if (request.ClientAccessKey != Accounts.CustomerKey) return Failed("There was a problem with the authentication process");
            var known = request.UserName != null && request.UserName.StartsWith("svc-", StringComparison.Ordinal);
            if (!known || request.Password != password || request.UserAccessKey != Accounts.UserKey)
                return Failed("User authentication failed");
            return new TokenResponse { Status = LoginStatus.Ok, Token = Accounts.Open(request.UserName) };
        }

        static FindResponse Query(string operation, Find request, EmployeeQuery query)
        {
            Log.Call(operation, "ClientAccessKey", request.ClientAccessKey, "UltiProToken", request.UltiProToken,
                "EmployeeNumber", query == null ? "no query" : query.EmployeeNumber,
                "IncludeInactive", query == null ? null : query.IncludeInactive ? "true" : "false",
                "PageNumber", query == null ? null : query.PageNumber, "PageSize", query == null ? null : query.PageSize);
            var account = Accounts.Of(request);
            if (account == null || account == "svc-token-refused")
                throw Refusal("An error occurred when verifying security for the message.");
            switch (account)
            {
                case "svc-person-fault": if (operation == "FindPeople") throw Refusal("Access is denied."); break;
                case "svc-person-unhandled-fault":
                    if (operation == "FindPeople")
                        throw new FaultException(new FaultReason("Access is denied."), FaultCode.CreateSenderFaultCode(Failure));
                    break;
                case "svc-person-exception":
                    if (operation == "FindPeople") throw new InvalidOperationException("thrown in the query");
                    break;
                case "svc-person-security-exception":
                    if (operation == "FindPeople") throw new SecurityException("Access is denied.");
                    break;
                case "svc-person-words": if (operation == "FindPeople") return Denial(); break;
            }
            // One that does not honour the filter.
            var found = account == "svc-unfiltered" ? 1 : 0;
            return new FindResponse
            {
                OperationResult = new OperationResult
                {
                    Messages = new List<OperationMessage>
                    {
                        new OperationMessage { Code = "OK", Message = "The operation was successful.", Severity = "Information" },
                    },
                    PagingInfo = new PagingInfo { CurrentPage = 1, PageSize = 1, PageTotal = found, TotalItems = found },
                    Success = true,
                },
                Results = Enumerable.Repeat(new Record { EmployeeNumber = "000000007" }, found).ToList(),
            };
        }

        static FindResponse Denial()
        {
            var message = new OperationMessage { Code = "1", Message = "You do not have permission to view this.", Severity = "Error" };
            return new FindResponse
            {
                OperationResult = new OperationResult { HasErrors = true, Messages = new List<OperationMessage> { message } },
            };
        }

        public FindPeopleResponse FindPeople(FindPeopleRequest request)
        {
            return new FindPeopleResponse { FindPeopleResult = Query("FindPeople", request, request.query) };
        }

        public FindJobsResponse FindJobs(FindJobsRequest request)
        {
            return new FindJobsResponse { FindJobsResult = Query("FindJobs", request, request.query) };
        }
    }

    // A fault that a service wants to send as it is. Mono makes InternalServiceFault of all that an operation throws, a
    // FaultException included, which Microsoft's dispatcher sends as it is. So it goes by the way WCF has for a service's own faults.
    public class Handled : FaultException
    {
        public Handled(FaultReason reason, FaultCode code) : base(reason, code) { }
    }

    public class Handler : IErrorHandler
    {
        public bool HandleError(Exception error) { return error is Handled; }

        public void ProvideFault(Exception error, MessageVersion version, ref Message fault)
        {
            var handled = error as Handled;
            if (handled == null) return;
            fault = Message.CreateMessage(version, handled.CreateMessageFault(), Action);
        }

        const string Action = "http://www.w3.org/2005/08/addressing/soap/fault";
    }

    // WCF's own access control, asked before each operation of EmployeePerson.
    public class Rights : ServiceAuthorizationManager
    {
        protected override bool CheckAccessCore(OperationContext context)
        {
            var headers = context.IncomingMessageHeaders;
            var request = new FindPeopleRequest
            {
                ClientAccessKey = Text(headers, "ClientAccessKey", Names.ClientAccessKey),
                UltiProToken = Text(headers, "UltiProToken", Names.Token),
            };
            return Accounts.Of(request) != "svc-person-role";
        }

        static string Text(MessageHeaders headers, string name, string ns)
        {
            return headers.FindHeader(name, ns) < 0 ? null : headers.GetHeader<string>(name, ns);
        }
    }

    static class Program
    {
        static Binding Binding(bool https, string mode)
        {
            var version = mode == "soap11" ? MessageVersion.Soap11WSAddressing10 : MessageVersion.Soap12WSAddressing10;
            var encoding = mode == "mtom" ? (BindingElement)new MtomMessageEncodingBindingElement(version, Encoding.UTF8)
                : new TextMessageEncodingBindingElement(version, Encoding.UTF8);
            var transport = https ? new HttpsTransportBindingElement() : new HttpTransportBindingElement();
            // Else it listens on all addresses of the machine.
            transport.HostNameComparisonMode = HostNameComparisonMode.Exact;
            if (mode == "streamed") transport.TransferMode = TransferMode.Streamed;
            return new CustomBinding(encoding, transport);
        }

        static void Serve(Uri services, string mode)
        {
            foreach (var contract in new[] { typeof(ILoginService), typeof(IEmployeePerson), typeof(IEmployeeJob) })
            {
                var host = new ServiceHost(new Services(), new Uri(services, contract.Name.Substring(1)));
                host.AddServiceEndpoint(contract, Binding(services.Scheme == Uri.UriSchemeHttps, mode), "");
                host.Description.Behaviors.Find<ServiceDebugBehavior>().IncludeExceptionDetailInFaults = mode == "detail";
                if (contract == typeof(IEmployeePerson)) host.Authorization.ServiceAuthorizationManager = new Rights();
                host.Open();
                foreach (ChannelDispatcher dispatcher in host.ChannelDispatchers) dispatcher.ErrorHandlers.Add(new Handler());
            }
        }

        static void Main(string[] arguments)
        {
            // Each listener keeps a thread of the pool, which grows by two a second: handshakes would wait past the client's deadline.
            ThreadPool.SetMinThreads(64, 64);
            Log.Open(arguments[0]);
            for (var at = 1; at < arguments.Length; at += 2) Serve(new Uri(arguments[at + 1]), arguments[at]);
            Console.WriteLine("ready");
            while (Console.ReadLine() != null) { }
            // Its channels' threads do not all end with Close.
            Environment.Exit(0);
        }
    }
}
