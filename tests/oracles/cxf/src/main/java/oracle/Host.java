package oracle;

import java.net.URI;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.Principal;
import java.util.List;
import java.util.Map;
import javax.net.ssl.KeyManagerFactory;
import javax.xml.namespace.QName;
import org.apache.cxf.BusFactory;
import org.apache.cxf.annotations.SchemaValidation.SchemaValidationType;
import org.apache.cxf.binding.soap.SoapBindingConstants;
import org.apache.cxf.binding.soap.SoapMessage;
import org.apache.cxf.binding.soap.interceptor.AbstractSoapInterceptor;
import org.apache.cxf.configuration.jsse.TLSServerParameters;
import org.apache.cxf.headers.Header;
import org.apache.cxf.interceptor.security.SimpleAuthorizingInterceptor;
import org.apache.cxf.jaxws.JaxWsServerFactoryBean;
import org.apache.cxf.message.Message;
import org.apache.cxf.phase.Phase;
import org.apache.cxf.security.SecurityContext;
import org.apache.cxf.transport.http_jetty.JettyHTTPServerEngineFactory;
import org.apache.cxf.ws.addressing.WSAddressingFeature;
import org.w3c.dom.Element;

/**
 * A host of LoginService, EmployeePerson and EmployeeJob on Apache CXF.
 *
 * <p>Arguments: the log, then pairs of a mode and a URL that ends in {@code /services/}. Modes are {@code plain}, with addressing
 * required; {@code optional} and {@code unaddressed}; {@code mtom}, {@code soap11} and {@code validated}. For a URL that begins with
 * https, ORACLE_KEYSTORE names a PKCS #12 file with the password "oracle". It says "ready" on standard output, and ends when standard
 * input does.
 */
public final class Host {
    private Host() {}

    public static void main(String[] arguments) throws Exception {
        Services.open(Path.of(arguments[0]));
        for (int at = 1; at < arguments.length; at += 2) {
            if (arguments[at + 1].startsWith("https:")) {
                encrypt(URI.create(arguments[at + 1]));
            }
            for (Object service : List.of(new Services.Login(), new Services.Person(), new Services.Job())) {
                serve(service, arguments[at], arguments[at + 1]);
            }
        }
        System.out.println("ready");
        while (System.in.read() != -1) { }
        // Jetty's threads outlast main.
        System.exit(0);
    }

    /** Has Jetty itself speak TLS at this port. */
    private static void encrypt(URI services) throws Exception {
        char[] password = "oracle".toCharArray();
        KeyStore store = KeyStore.getInstance(Path.of(System.getenv("ORACLE_KEYSTORE")).toFile(), password);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password);
        TLSServerParameters parameters = new TLSServerParameters();
        parameters.setKeyManagers(keys.getKeyManagers());
        BusFactory.getDefaultBus()
                .getExtension(JettyHTTPServerEngineFactory.class)
                .setTLSServerParametersForPort(services.getHost(), services.getPort(), parameters);
    }

    private static void serve(Object service, String mode, String services) {
        String name = service.getClass().getSimpleName();
        JaxWsServerFactoryBean factory = new JaxWsServerFactoryBean();
        factory.setServiceBean(service);
        factory.setAddress(services + (name.equals("Login") ? "LoginService" : "Employee" + name));
        factory.setBindingId(
                mode.equals("soap11") ? SoapBindingConstants.SOAP11_BINDING_ID : SoapBindingConstants.SOAP12_BINDING_ID);
        if (!mode.equals("unaddressed")) {
            WSAddressingFeature feature = new WSAddressingFeature();
            feature.setAddressingRequired(!mode.equals("optional"));
            // Each message has an identifier of its own.
            feature.setAllowDuplicates(false);
            factory.getFeatures().add(feature);
        }
        factory.setProperties(Map.of(
                Message.MTOM_ENABLED, mode.equals("mtom"),
                // Of requests: the schema that CXF generates is not one that its own answers with members of two namespaces fit.
                Message.SCHEMA_VALIDATION_ENABLED, mode.equals("validated") ? SchemaValidationType.IN : SchemaValidationType.NONE));
        if (name.equals("Person")) {
            // CXF's own access control: FindPeople is for those of a role.
            factory.getInInterceptors().add(new Roles());
            SimpleAuthorizingInterceptor authorizer = new SimpleAuthorizingInterceptor();
            authorizer.setMethodRolesMap(Map.of("findPeople", "employee-person"));
            factory.getInInterceptors().add(authorizer);
        }
        factory.create();
    }

    /** Says whose request it is, for CXF to judge: all accounts have the role, but for one. */
    private static final class Roles extends AbstractSoapInterceptor {
        Roles() {
            super(Phase.UNMARSHAL);
        }

        @Override
        public void handleMessage(SoapMessage message) {
            String account = Services.account(
                    text(message.getHeader(new QName(Contracts.TOKEN, "UltiProToken"))),
                    text(message.getHeader(new QName(Contracts.CLIENT_ACCESS_KEY, "ClientAccessKey"))));
            message.put(SecurityContext.class, new SecurityContext() {
                @Override
                public Principal getUserPrincipal() {
                    return () -> account;
                }

                @Override
                public boolean isUserInRole(String role) {
                    return !"svc-person-role".equals(account);
                }
            });
        }

        private static String text(Header header) {
            return header != null && header.getObject() instanceof Element element ? element.getTextContent() : null;
        }
    }
}
